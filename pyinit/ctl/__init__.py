"""The `pyinitctl` command: everything around PID 1 that is not PID 1. It knows every other package, and none knows it."""
