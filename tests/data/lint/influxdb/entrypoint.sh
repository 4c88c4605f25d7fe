#!/bin/bash
set -eo pipefail

declare -r LOG_LEVEL_INFO=20

function log () {
    local level="$1" msg="$2"; shift 2
    echo "$(date -u +"%Y-%m-%dT%H:%M:%S") ${level} ${msg}" >&2
}

function handle_signal () {
    kill -"$1" "$2"
    wait "$2"
}

function init_influxd () {
    influxd "${@}" --http-bind-address=":9999" &
    local -r influxd_init_pid="$!"
    trap "handle_signal TERM $influxd_init_pid" TERM
    trap "handle_signal INT $influxd_init_pid" INT
    until influx ping >/dev/null 2>&1; do
        sleep 1
    done
    kill -TERM "$influxd_init_pid"
    wait "$influxd_init_pid" || true
    trap - EXIT INT TERM
}

function influxd_main () {
    if test -n "${DOCKER_INFLUXDB_INIT_MODE}"; then
        init_influxd "${@}"
    fi
    exec influxd "${@}"
}

function main () {
    if [[ $# -gt 0 && "$1" = influxd ]]; then
        shift 1
    fi
    if [[ $(id -u) -eq 0 ]]; then
        exec gosu influxdb "${BASH_SOURCE[0]}" "${@}"
    fi
    influxd_main "${@}"
}

main "${@}"
