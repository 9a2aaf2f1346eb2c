"""Run one of the binaries of this folder, built first where this machine has none that fits.

Usage: run.py TOOL [ARGUMENT ...]
"""

import os
import sys

import build

from kagenti_devcluster.toolchain import binaries


def main() -> None:
    """Give the process up to the binary."""
    name, *arguments = sys.argv[1:]
    if binaries.search(name).found is None:
        try:
            build.build_missing([name])
        except build.BuildFailed as failure:
            sys.exit(f"{name} cannot be built: {failure}")
    path = binaries.find(name)
    os.execv(path, [str(path), *arguments])


if __name__ == "__main__":
    main()
