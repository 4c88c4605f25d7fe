"""`python3 -I -S -B -X utf8 .../pyinit/supervise/__main__.py SPEC`: SPEC is a descriptor's number, or a file, with the JSON of `spec`."""

import sys

# our packages by hand, as PID 1 does: nothing is searched for, and neither site-packages nor the working directory is on the path
_here = __file__.rpartition("/")[0]
_above = _here.rpartition("/")[0]
for _name, _folder in (("pyinit", _above), ("pyinit.init", _above + "/init"), ("pyinit.supervise", _here)):
    _package = sys.modules[_name] = type(sys)(_name)
    _package.__path__ = [_folder]
for _name in ("init", "supervise"):
    setattr(sys.modules["pyinit"], _name, sys.modules["pyinit." + _name])

import os  # noqa: E402

from pyinit.supervise.start import start  # noqa: E402

os._exit(start(sys.argv[1:]))
