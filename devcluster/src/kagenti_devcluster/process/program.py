"""How the cluster starts its own small programs: an interpreter without site packages, up in 20 ms.

They set up namespaces or wait for one process, so they import the standard library and this package only.
"""

import sys
from pathlib import Path

_ROOT = Path(__file__).resolve().parents[2]
_BOOT = (
    "import sys; from importlib import import_module; sys.path.append(sys.argv.pop(1)); "
    "import_module(sys.argv.pop(1)).main(sys.argv[1:])"
)


def program(module: str, *arguments: str) -> list[str]:
    """The command that runs `main(arguments)` of a module of this package."""
    return [sys.executable, "-I", "-S", "-c", _BOOT, str(_ROOT), f"{__package__}.{module}", *arguments]
