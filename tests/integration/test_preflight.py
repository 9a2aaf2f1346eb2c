"""What `make demo` says at once on a machine whose kernel does not let a cluster run."""

import os
import subprocess
import sys
from collections.abc import Sequence

from kagenti_devcluster.process.program import program

PREFLIGHT = [sys.executable, "-m", "kagenti_devcluster.toolchain.preflight"]
# As an administrator does it with `sysctl -w`; inside a user namespace it holds for that one.
FORBID = ["/bin/sh", "-c", 'echo 0 > /proc/sys/user/max_user_namespaces && exec "$@"', "sh"]


def run(command: Sequence[str]) -> subprocess.CompletedProcess[str]:
    return subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)


def test_nothing_is_said_where_all_is_well():
    done = run(PREFLIGHT)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


def test_forbidden_user_namespaces_are_reported_with_what_to_do():
    done = run(program("enter", str(os.getpid()), *FORBID, *PREFLIGHT))
    assert done.returncode == 1
    assert "the cluster cannot run on this machine: this kernel does not let an ordinary user" in done.stderr
    assert "sysctl -w user.max_user_namespaces=15000" in done.stderr
    assert "Traceback" not in done.stderr
