#!/bin/sh
# As entry points are written: something to prepare, then the program, and no exec.
echo "preparing"
python3 -u /srv/worker.py
