#!/bin/bash
set -eo pipefail
shopt -s nullglob

mysql_log() {
	local type="$1"; shift
	local text="$*"; if [ "$#" -eq 0 ]; then text="$(cat)"; fi
	local dt; dt="$(date --rfc-3339=seconds)"
	printf '%s [%s] [Entrypoint]: %s\n' "$dt" "$type" "$text"
}

docker_process_init_files() {
	mysql=( docker_process_sql )
	local f
	for f; do
		case "$f" in
			*.sh)
				if [ -x "$f" ]; then
					"$f"
				else
					. "$f"
				fi
				;;
			*.sql.gz) gunzip -c "$f" | "${mysql[@]}"; echo ;;
			*) mysql_log Warn "ignoring $f" ;;
		esac
	done
}

_main() {
	if [ "${1:0:1}" = '-' ]; then
		set -- mysqld "$@"
	fi
	if [ "$1" = 'mysqld' ] && [ "$(id -u)" = "0" ]; then
		mysql_log Note "switching to the user mysql"
		exec gosu mysql "$BASH_SOURCE" "$@"
	fi
	docker_process_init_files /docker-entrypoint-initdb.d/*
	exec "$@"
}

_main "$@"
