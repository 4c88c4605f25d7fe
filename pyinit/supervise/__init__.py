"""What people use PM2 for, for programs in any language: start, restart, reload without downtime, logs. PID 1's one child.

The mind is pure (`machine`, `fleet`: no clock, no system call), the hands are `supervisor` and what it calls. Nothing here is
imported by PID 1, and nothing here imports what `pyinitctl` needs: files are parsed there, and the supervisor gets JSON.
"""
