#!/usr/bin/dumb-init /bin/sh
set -e

CONSUL_BIND=
if [ -n "$CONSUL_BIND_INTERFACE" ]; then
  CONSUL_BIND_ADDRESS=$(ip -o -4 addr list $CONSUL_BIND_INTERFACE | head -n1 | awk '{print $4}' | cut -d/ -f1)
  CONSUL_BIND="-bind=$CONSUL_BIND_ADDRESS"
fi

if [ "${1:0:1}" = '-' ]; then
    set -- consul "$@"
fi

if [ "$1" = 'agent' ]; then
    shift
    set -- consul agent -data-dir="$CONSUL_DATA_DIR" $CONSUL_BIND "$@"
elif consul --help "$1" 2>&1 | grep -q "consul $1"; then
    set -- consul "$@"
fi

if [ "$1" = 'consul' -a -z "${CONSUL_DISABLE_PERM_MGMT+x}" ]; then
    if [ "$(id -u)" = "0" ]; then
      set -- su-exec consul:consul "$@"
    fi
fi

exec "$@"
