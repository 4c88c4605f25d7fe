"""The second start (see start.py): `python3 -I -S -B -X utf8 -X pyinit=MASK .../pyinit/init/__main__.py [OPTIONS] -- PROGRAM`."""

import _signal

_MASK = _signal.pthread_sigmask(_signal.SIG_SETMASK, [*range(1, 32), *range(34, 65)])  # 32 and 33 are libc's own

import sys  # noqa: E402  - nothing comes before the mask

# behind everything else, so that no file of an application can stand in for a module of Python's
sys.path.append(__file__.rpartition("/")[0].rpartition("/")[0].rpartition("/")[0])

from pyinit.init.start import start  # noqa: E402

_given = sys._xoptions.get("pyinit")
if isinstance(_given, str):
    _mask = int(_given, 16)
    _MASK = {number for number in range(1, 65) if _mask >> (number - 1) & 1}
start(_MASK)
