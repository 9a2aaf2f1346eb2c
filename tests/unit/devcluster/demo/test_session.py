"""The demo and a cluster of somebody else's, whose lock another process holds."""

import io
import os
import subprocess
import sys
from collections.abc import Generator
from contextlib import AsyncExitStack
from pathlib import Path

import pytest

from kagenti_devcluster.demo.bring_up import bring_up
from kagenti_devcluster.demo.report import Console
from kagenti_devcluster.demo.session import run_demo
from kagenti_devcluster.demo.stage import Stage
from kagenti_devcluster.host import launcher
from kagenti_devcluster.host.daemon import write_holder
from kagenti_devcluster.host.options import ClusterOptions
from kagenti_devcluster.host.paths import StatePaths
from kagenti_devcluster.host.status import Status, write_status

_HOLD = """
import fcntl, sys
lock = open(sys.argv[1], "ab")
fcntl.flock(lock, fcntl.LOCK_EX)
print("held", flush=True)
sys.stdin.read()
"""


@pytest.fixture
def paths(tmp_path: Path) -> StatePaths:
    return StatePaths(tmp_path)


@pytest.fixture
def daemon(paths: StatePaths) -> Generator[subprocess.Popen[str]]:
    with subprocess.Popen(
        [sys.executable, "-c", _HOLD, str(paths.lock)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "held\n"
        write_holder(paths, process.pid)
        write_status(paths.status, Status(phase="ready", profile="openshift-ai-3.5"))
        yield process
        process.kill()


async def test_a_demo_that_is_refused_leaves_the_cluster_that_it_was_refused_on(
    paths: StatePaths, daemon: "subprocess.Popen[str]"
):
    out = io.StringIO()
    options = ClusterOptions(directory=paths.root, profile="kubernetes")
    assert not await run_demo(options, Console(out), os.environ, once=True)
    said = out.getvalue()
    assert "the cluster that runs looks like openshift-ai-3.5, not like kubernetes" in said
    assert f"kagenti-devcluster down --directory {paths.root}, and the demo again" in said
    assert "is down" not in said
    assert daemon.poll() is None
    assert launcher.find_daemon(paths) == daemon.pid


async def test_a_demo_that_came_second_does_not_take_the_other_cluster_for_its_own(
    paths: StatePaths, daemon: "subprocess.Popen[str]"
):
    async with AsyncExitStack() as exits:
        stage = Stage(ClusterOptions(directory=paths.root), Console(io.StringIO()), exits, {})
        with pytest.raises(launcher.AlreadyRunning):
            await bring_up(stage)
    assert stage.watchdog is None
    assert launcher.find_daemon(paths) == daemon.pid
