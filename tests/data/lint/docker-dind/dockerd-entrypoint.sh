#!/bin/sh
set -eu

if [ "$#" -eq 0 ] || [ "${1#-}" != "$1" ]; then
	set -- dockerd --host=unix:///var/run/docker.sock "$@"
fi

if [ "$1" = 'dockerd' ]; then
	# orphans and exec sessions need somebody who reaps them
	set -- docker-init -- "$@"
	find /run /var/run -iname 'docker*.pid' -delete || :
fi

exec "$@"
