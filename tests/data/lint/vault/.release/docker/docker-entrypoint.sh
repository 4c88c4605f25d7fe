#!/usr/bin/dumb-init /bin/sh
set -e
ulimit -c 0

if [ "$1" = 'server' ]; then
    shift
    set -- vault server -config=/vault/config "$@"
fi
if [ "$(id -u)" = '0' ] && [ "$1" = 'vault' ]; then
    setcap cap_ipc_lock=+ep $(readlink -f $(which vault)) || echo >&2 "could not set IPC_LOCK"
    set -- su-exec vault "$@"
fi
exec "$@"
