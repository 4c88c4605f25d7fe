#!/bin/sh
set -e

log() {
    if [ -z "${ENTRYPOINT_QUIET:-}" ]; then
        echo "$@"
    fi
}

if [ "$1" = "nginx" ] || [ "$1" = "nginx-debug" ]; then
    if find "/docker-entrypoint.d/" -mindepth 1 -maxdepth 1 -type f -print -quit 2>/dev/null | read v; then
        find "/docker-entrypoint.d/" -follow -type f -print | sort -V | while read -r f; do
            case "$f" in
                *.envsh)
                    if [ -x "$f" ]; then
                        log "sourcing $f"
                        . "$f"
                    fi
                    ;;
                *.sh)
                    if [ -x "$f" ]; then
                        log "running $f"
                        "$f"
                    fi
                    ;;
                *) log "passing over $f" ;;
            esac
        done
    else
        log "nothing to do in /docker-entrypoint.d/"
    fi
fi

exec "$@"
