#!/usr/bin/env -S python -u
print("ready")
