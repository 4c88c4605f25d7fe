#!/bin/bash
# shellcheck disable=SC1091

set -o errexit
set -o nounset
set -o pipefail

. /opt/scripts/redis-env.sh
. /opt/scripts/libredis.sh

print_welcome_page

if [[ "$*" = *"/opt/scripts/redis/run.sh"* || "$*" = *"/run.sh"* ]]; then
    info "** Starting Redis setup **"
    /opt/scripts/redis/setup.sh
    info "** Redis setup finished! **"
fi

echo ""
exec "$@"
