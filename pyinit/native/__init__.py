"""PID 1 in C: a static executable with the same contract. Its headers are generated from pyinit/init (generate.py)."""
