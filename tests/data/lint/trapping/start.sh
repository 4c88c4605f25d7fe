#!/bin/sh
python worker.py &
pid=$!
trap 'kill -TERM $pid' TERM INT
wait $pid
trap - TERM INT
wait $pid
status=$?
echo "left with $status"
exit $status
