#!/bin/sh
set -eu

# version_greater A B: whether A > B
version_greater() {
    [ "$(printf '%s\n' "$@" | sort -t '.' -n -k1,1 -k2,2 -k3,3 -k4,4 | head -n 1)" != "$1" ]
}

run_as() {
    if [ "$(id -u)" = 0 ]; then
        su -p "$user" -s /bin/sh -c "$1"
    else
        sh -c "$1"
    fi
}

if expr "$1" : "apache" 1>/dev/null || [ "$1" = "php-fpm" ] || [ "${NEXTCLOUD_UPDATE:-0}" -eq 1 ]; then
    uid="$(id -u)"
    if [ "$uid" = '0' ]; then
        user='www-data'
    else
        user="$uid"
    fi
    (
        if ! flock -n 9; then
            echo "another process is initializing"
            flock 9
        fi
        rsync -rlDog --chown "$user" --delete --exclude-from=/upgrade.exclude /usr/src/nextcloud/ /var/www/html/
    ) 9> /var/www/html/nextcloud-init-sync.lock
fi

exec "$@"
