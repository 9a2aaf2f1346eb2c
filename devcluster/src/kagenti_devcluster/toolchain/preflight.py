"""Whether this machine's kernel lets the cluster run, found out before anything takes long.

`python -m kagenti_devcluster.toolchain.preflight` is what `make demo` and `make test` begin with: the
binaries take a quarter of an hour to build, and are of no use where pods cannot be run.
"""

import os
import subprocess
import sys

from kagenti_devcluster.process.program import program


def find_problem() -> str | None:
    """Why no cluster can run here, and what to do about it; None where one can."""
    command = program("enter", str(os.getpid()), *program("probe"))
    done = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False)
    if done.returncode == 0:
        return None
    return done.stderr.strip() or f"a program in namespaces of its own ended with {done.returncode}"


def main() -> int:
    """Print the problem, if there is one."""
    problem = find_problem()
    if problem is None:
        return 0
    print(f"the cluster cannot run on this machine: {problem}", file=sys.stderr)
    return 1


if __name__ == "__main__":
    sys.exit(main())
