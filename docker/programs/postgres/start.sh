#!/bin/sh
# Makes the database at the first start, then becomes PostgreSQL. Run as the user postgres.
set -e
bin=$(echo /usr/lib/postgresql/*/bin)
if [ ! -e /tmp/data/PG_VERSION ]; then
  "$bin/initdb" --pgdata=/tmp/data --auth=trust --username=postgres --no-sync >/dev/null
fi
exec "$bin/postgres" -D /tmp/data -c listen_addresses=127.0.0.1 -c unix_socket_directories=/tmp
