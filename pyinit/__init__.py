"""pyinit: PID 1 for containers, and the proof that it works. The rooms: init, native, containers, ctl."""
