#!/bin/bash
set -Eeuo pipefail

if [ "${1:0:1}" = '-' ]; then
	set -- mongod "$@"
fi

originalArgOne="$1"

if [[ "$originalArgOne" == mongo* ]] && [ "$(id -u)" = '0' ]; then
	if [ "$originalArgOne" = 'mongod' ]; then
		find /data/configdb /data/db \! -user mongodb -exec chown mongodb '{}' +
	fi
	exec gosu mongodb "$BASH_SOURCE" "$@"
fi

# on a machine with NUMA
if [[ "$originalArgOne" == mongo* ]]; then
	numa='numactl --interleave=all'
	if $numa true &> /dev/null; then
		set -- $numa "$@"
	fi
fi

_parse_config() {
	if configPath="$(_mongod_hack_get_arg_val --config "$@")" && [[ -s "$configPath" ]]; then
		mongosh --norc --nodb --quiet --eval "load('/js-yaml.js')" "$configPath" > /tmp/parsed
		return 0
	fi
	return 1
}

if [ "$originalArgOne" = 'mongod' ]; then
	if [ -n "${MONGO_INITDB_ROOT_USERNAME:-}" ] && [ ! -e /data/db/WiredTiger ]; then
		"$@" --bind_ip 127.0.0.1 --logpath "/proc/$$/fd/1" --fork --pidfilepath /tmp/mongod.pid
		mongosh --quiet admin <<-EOJS
			db.createUser({ user: 'root', pwd: '$MONGO_INITDB_ROOT_PASSWORD', roles: [ 'root' ] })
		EOJS
		"$@" --shutdown
	fi
	unset "${!MONGO_INITDB_@}"
fi

rm -f /tmp/parsed

exec "$@"
