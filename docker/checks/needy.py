"""Starts only where it knows its user, can write to / and has no terminal."""

import os
import pwd
import runpy
import sys
from pathlib import Path

if os.isatty(0):
    sys.exit("not on a terminal")
print("running as", pwd.getpwuid(os.getuid()).pw_name)
Path("/needy.pid").write_text(str(os.getpid()), encoding="ascii")
runpy.run_path("/checks/server.py")
