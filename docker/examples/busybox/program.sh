#!/bin/sh
# Ends with status 7 after a SIGTERM, and cleans up before.
trap 'echo got SIGTERM; exit 7' TERM
echo ready
while :; do
  sleep 3600 &
  wait $!
done
