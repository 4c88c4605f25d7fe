#!/bin/sh
set -e

if [ "${1#-}" != "$1" ]; then
	set -- haproxy "$@"
fi

if [ "$1" = 'haproxy' ]; then
	shift # "haproxy"
	# the master, and workers that it replaces; in the foreground
	set -- haproxy -W -db "$@"
fi

exec "$@"
