#!/bin/sh
set -e

# an option comes first: it is for traefik
if [ "${1#-}" != "$1" ]; then
    set -- traefik "$@"
fi

# one of its own commands
if traefik "$1" --help >/dev/null 2>&1
then
    set -- traefik "$@"
else
    echo "= '$1' is not a Traefik command: assuming shell execution." 1>&2
fi

exec "$@"
