#!/bin/bash
# A clean-up in a trap. bash runs it when the command in front ends: who is asked alone waits for a day.
trap 'echo cleaned; exit 3' TERM
echo ready
sleep 86400
