"""`python3 -I -m pyinit`: the Python engine. Without -I or -P the working directory is searched first; it is dropped here."""

import _signal

_MASK = _signal.pthread_sigmask(_signal.SIG_SETMASK, [*range(1, 32), *range(34, 65)])  # 32 and 33 are libc's own

import sys  # noqa: E402  - nothing comes before the mask

if not sys.flags.safe_path:
    del sys.path[0]

from pyinit.init.start import start  # noqa: E402

start(_MASK)
