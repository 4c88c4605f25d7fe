"""The second start (see start.py): `python3 -I -S -B -X utf8 -X pyinit=MASK .../pyinit/init/__main__.py [OPTIONS] -- PROGRAM`."""

import _signal

_MASK = _signal.pthread_sigmask(_signal.SIG_SETMASK, [*range(1, 32), *range(34, 65)])  # 32 and 33 are libc's own

import sys  # noqa: E402  - nothing comes before the mask

# our two packages by hand: nothing is searched for, and site-packages never comes on PID 1's path
_here = __file__.rpartition("/")[0]
for _name, _folder in (("pyinit", _here.rpartition("/")[0]), ("pyinit.init", _here)):
    _package = sys.modules[_name] = type(sys)(_name)
    _package.__path__ = [_folder]
sys.modules["pyinit"].init = sys.modules["pyinit.init"]  # type: ignore[attr-defined]

from pyinit.init.start import start  # noqa: E402

_given = sys._xoptions.get("pyinit")
if isinstance(_given, str):
    _mask = int(_given, 16)
    _MASK = {number for number in range(1, 65) if _mask >> (number - 1) & 1}
start(_MASK)
