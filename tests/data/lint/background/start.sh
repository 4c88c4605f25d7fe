#!/bin/bash
python web.py &
python worker.py &
wait -n
exit $?
