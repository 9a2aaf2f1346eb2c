"""Run one of the binaries of this folder, built first where this machine has none that fits.

Usage: run.py TOOL [ARGUMENT ...]
"""

import os
import subprocess
import sys
from pathlib import Path

from kagenti_devcluster.toolchain import binaries


def main() -> None:
    """Give the process up to the binary."""
    name, *arguments = sys.argv[1:]
    if binaries.search(name).found is None:
        done = subprocess.run([sys.executable, Path(__file__).with_name("build.py"), name], check=False)
        if done.returncode:
            sys.exit(done.returncode)
    path = binaries.find(name)
    os.execv(path, [str(path), *arguments])


if __name__ == "__main__":
    main()
