"""What a test's server has started goes with the test run that is killed outright."""

import os
import select
import signal
import subprocess
import sys
from contextlib import suppress

import pytest

_OWNER = """\
import os, subprocess, sys
from kagenti_devcluster.testing.group_end import GroupEnd

command = ["sh", "-c", "sleep 600 & echo $!; wait"]
server = subprocess.Popen(command, process_group=0, stdout=subprocess.PIPE, text=True)
end = GroupEnd(server.pid)
print(server.pid, server.stdout.readline().strip(), flush=True)
if sys.stdin.readline() == "release\\n":
    end.release()
    print("released", flush=True)
    sys.stdin.readline()
"""


@pytest.mark.parametrize("word", ["", "release\n"])
def test_a_group_ends_with_its_owner_unless_it_was_released(word: str) -> None:
    owner = subprocess.Popen(
        [sys.executable, "-P", "-c", _OWNER], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    with owner:
        assert owner.stdin
        assert owner.stdout
        server, child = map(int, owner.stdout.readline().split())
        handle = os.pidfd_open(child)
        if word:
            owner.stdin.write(word)
            owner.stdin.flush()
            assert owner.stdout.readline() == "released\n"
        owner.kill()
        owner.stdin.close()
    try:
        # Readable when the process has ended.
        ended, _, _ = select.select([handle], [], [], 0.5 if word else 30)
        assert bool(ended) is not bool(word)
    finally:
        os.close(handle)
        with suppress(ProcessLookupError):
            os.killpg(server, signal.SIGKILL)
