#!/bin/sh
# a shell in front of a program that does it right: it passes the signal on, and waits for the end
trap 'kill -TERM "$program"' TERM
"$@" &
program=$!
wait "$program" # ended by the trap
wait "$program"
