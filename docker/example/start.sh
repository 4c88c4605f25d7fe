#!/bin/sh
# What many entrypoints look like: prepare, start the parts, wait for them.
#
# As PID 1 this shell never ends on SIGTERM: it has no handler for it, and the kernel drops what a PID 1 does not handle.
# Nobody passes the signal on either, so after ten seconds everybody is killed in the middle of what they were doing.
set -eu
cd "$(dirname "$0")"
export DATA="${DATA:-/data}"
mkdir -p "$DATA"

python3 shipper.py # goes into the background by itself, as daemons do
python3 worker.py orders 1.0 &
python3 worker.py payments 1.4 &
wait
