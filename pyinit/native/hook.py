"""The build hook of the wheels (pyproject.toml names it): which `pyinit` goes into bin/.

PYINIT_TARGET unset: the Python launcher, in a wheel for every machine. PYINIT_TARGET=ARCH or host: the native engine, in a wheel
for that machine. PYINIT_COMPILER=zig (the default), musl-gcc or cc compiles it. What was asked for is built, or nothing is.
"""

import os
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface

# an installed pyinit, where builds are not isolated, is not the one that is being built
sys.path.insert(0, str(Path(__file__).resolve().parents[2]))
try:
    from pyinit.native import build, elf
finally:
    del sys.path[0]

if TYPE_CHECKING:
    Base = BuildHookInterface[Any]
else:
    Base = BuildHookInterface


class NativeBuildHook(Base):
    """Chooses the script `pyinit` and the wheel's tag."""

    def dependencies(self) -> list[str]:
        """The compiler, where one is needed: an isolated build installs it."""
        compiles = _asked("PYINIT_TARGET") and _asked("PYINIT_COMPILER", "zig") == "zig"
        return [build.ZIG] if compiles else []

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:  # noqa: ARG002 (hatchling's signature)
        """Before the wheel is put together. Ends the build when what was asked for cannot be had."""
        asked = _asked("PYINIT_TARGET")
        if not asked:
            build_data["shared_scripts"]["pyinit/launcher"] = "pyinit"
            return
        self._scratch = tempfile.TemporaryDirectory(prefix="pyinit-wheel-")
        made = Path(self._scratch.name) / "pyinit"
        try:
            target = build.chosen_one(asked)
            build.build_all([target], lambda _: made, _asked("PYINIT_COMPILER", "zig"), self.app.display_info)
        except (build.BuildError, elf.ElfError) as error:
            sys.exit(f"pyinit: PYINIT_TARGET={asked}: {error}")
        build_data["shared_scripts"][str(made)] = "pyinit"
        build_data["pure_python"] = False
        build_data["tag"] = f"py3-none-{'.'.join(target.tags)}"

    def finalize(self, version: str, build_data: dict[str, Any], artifact_path: str) -> None:  # noqa: ARG002 (as above)
        """After it: the executable is in the wheel."""
        if _asked("PYINIT_TARGET"):
            self._scratch.cleanup()


def _asked(variable: str, otherwise: str = "") -> str:
    return os.environ.get(variable) or otherwise
