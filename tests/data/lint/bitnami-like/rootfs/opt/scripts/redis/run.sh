#!/bin/bash
set -o errexit
set -o nounset
set -o pipefail

. /opt/scripts/redis-env.sh
. /opt/scripts/libredis.sh

ARGS=("$REDIS_CONF_FILE" "--daemonize" "no")
read -r -a extra_flags <<< "$REDIS_EXTRA_FLAGS"
[[ "${#extra_flags[@]}" -gt 0 ]] && ARGS+=("${extra_flags[@]}")
ARGS+=("$@")

info "** Starting Redis **"
if am_i_root; then
    exec_as_user "$REDIS_DAEMON_USER" redis-server "${ARGS[@]}"
else
    exec redis-server "${ARGS[@]}"
fi
