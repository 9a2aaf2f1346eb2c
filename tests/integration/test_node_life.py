"""How a cluster begins and ends, and that nothing of it is ever left behind."""

import json
import os
import select
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from kagenti_devcluster.errors import DevClusterError
from kagenti_devcluster.host.launcher import AlreadyRunning, find_daemon, purge, start, stop
from kagenti_devcluster.host.options import ClusterOptions
from kagenti_devcluster.host.paths import StatePaths
from kagenti_devcluster.host.status import read_status
from kagenti_operator.kube.errors import KubeError
from tests.support.node_cluster import DEADLINE_SECONDS, Bench, NodeCluster, build_options, pod_spec
from tests.support.processes import find_descendants, find_program

_OWNER = """
import sys
if sys.argv[2] == "parts of /proc are hidden":
    import os
    from kagenti_devcluster.process import linux
    uid, gid = os.getuid(), os.getgid()
    os.unshare(os.CLONE_NEWUSER | os.CLONE_NEWNS)
    linux.map_user(uid, gid)
    linux.make_private()
    linux.mount("tmpfs", "/proc/fs", "tmpfs", 0)
from kagenti_devcluster.host.launcher import start
from kagenti_devcluster.host.options import ClusterOptions
start(ClusterOptions.decode(sys.argv[1]), die_with_parent=True)
print("ready", flush=True)
sys.stdin.read()
"""

# In a user namespace of its own, which is not allowed to make further ones.
_FORBIDDEN = """
import os, sys
from pathlib import Path
from kagenti_devcluster.errors import DevClusterError
from kagenti_devcluster.host.launcher import start
from kagenti_devcluster.host.options import ClusterOptions
from kagenti_devcluster.process import linux
uid, gid = os.getuid(), os.getgid()
os.unshare(os.CLONE_NEWUSER)
linux.map_user(uid, gid)
Path("/proc/sys/user", sys.argv[2]).write_text("0")
try:
    start(ClusterOptions.decode(sys.argv[1]))
except DevClusterError as error:
    print(error)
"""

# Ctrl-C comes in the very moment when the daemon has been started.
_INTERRUPTED = """
import os, signal, sys
from kagenti_devcluster.host.launcher import start
from kagenti_devcluster.host.options import ClusterOptions
signal.signal(signal.SIGINT, signal.default_int_handler)
spawn = os.posix_spawn
def spawn_and_interrupt(*arguments, **named):
    pid = spawn(*arguments, **named)
    print("started", flush=True)
    os.kill(os.getpid(), signal.SIGINT)
    return pid
os.posix_spawn = spawn_and_interrupt
try:
    start(ClusterOptions.decode(sys.argv[1]))
except KeyboardInterrupt:
    print("interrupted")
"""


@pytest.fixture
def options(tmp_path: Path) -> Iterator[ClusterOptions]:
    built = build_options(tmp_path / "devcluster")
    yield built
    stop(built.directory)


async def run_pod(options: ClusterOptions) -> None:
    """A pod that would rather stay."""
    async with NodeCluster(options, {}).open_bench("stay") as bench:
        await bench.create_pod("stay", pod_spec("trap '' TERM; echo here; while :; do sleep 1; done"))
        await bench.until_logged("stay", "here")
        # Leaving the namespace behind, with everything in it.
        raise _Left


class _Left(Exception):
    pass


def processes_of(options: ClusterOptions) -> list[int]:
    """Handles of every process of a running cluster."""
    daemon = find_daemon(StatePaths(options.directory))
    assert daemon is not None
    found = find_descendants(daemon)
    # Daemon, the two that enter the namespaces, supervisor, control plane, container, init, shell.
    assert len(found) >= 10
    return [os.pidfd_open(pid) for pid, _ in found]


def signals_held_back(options: ClusterOptions) -> int:
    """Signals that a cluster's daemon does not hear of, and so none of what it starts (proc(5), SigBlk)."""
    daemon = find_daemon(StatePaths(options.directory))
    lines = Path(f"/proc/{daemon}/status").read_text().splitlines()
    return next(int(line.split()[1], 16) for line in lines if line.startswith("SigBlk:"))


def assert_ended(handles: list[int]) -> None:
    for handle in handles:
        # Readable when the process has ended.
        ready, _, _ = select.select([handle], [], [], DEADLINE_SECONDS)
        os.close(handle)
        assert ready, "a process is left"


def kill(options: ClusterOptions, program: str) -> None:
    daemon = find_daemon(StatePaths(options.directory))
    assert daemon is not None
    os.kill(find_program(daemon, program), signal.SIGKILL)


async def test_a_second_start_is_refused_and_a_stop_leaves_logs_only(options: ClusterOptions) -> None:
    heard: list[str] = []
    status = start(options, say=heard.append)
    assert status.phase == "ready"
    assert heard == list(status.steps)
    with pytest.raises(AlreadyRunning):
        start(options)
    with pytest.raises(AlreadyRunning):
        purge(options.directory)
    with pytest.raises(_Left):
        await run_pod(options)
    handles = processes_of(options)
    assert signals_held_back(options) == 0
    paths = StatePaths(options.directory)

    assert stop(options.directory)
    assert_ended(handles)
    assert not stop(options.directory)
    ended = read_status(paths.status)
    assert ended is not None
    assert ended.phase == "stopped"
    assert paths.container_log("stay", "stay", "main").read_text() == "here\n"
    assert not paths.kubeconfig.exists()
    assert not paths.pods.exists()
    secrets = [path for path in paths.root.rglob("*") if path.suffix in {".key", ".pem", ".kubeconfig"}]
    assert secrets == []
    purge(options.directory)
    assert not options.directory.exists()


@pytest.mark.parametrize("victim", ["cluster.supervisor", "process.enter"])
async def test_nothing_outlives_the_inside(options: ClusterOptions, victim: str) -> None:
    start(options)
    with pytest.raises(_Left):
        await run_pod(options)
    handles = processes_of(options)
    kill(options, f"kagenti_devcluster.{victim}")
    assert_ended(handles)
    status = read_status(StatePaths(options.directory).status)
    assert status is not None
    assert status.phase == "failed"


@pytest.mark.parametrize("machine", ["as it is", "parts of /proc are hidden"])
async def test_nothing_outlives_whoever_it_is_tethered_to(options: ClusterOptions, machine: str) -> None:
    owner = subprocess.Popen(
        [sys.executable, "-c", _OWNER, options.encode(), machine],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    with owner:
        assert owner.stdout is not None
        assert owner.stdout.readline() == "ready\n"
        with pytest.raises(_Left):
            await run_pod(options)
        handles = processes_of(options)
        owner.kill()
    assert_ended(handles)
    # What it left in the state directory is no obstacle, nor taken for a running cluster.
    assert find_daemon(StatePaths(options.directory)) is None
    assert start(options).phase == "ready"


async def test_a_component_that_dies_comes_back_and_pods_do_not_notice(options: ClusterOptions) -> None:
    start(options)
    with pytest.raises(_Left):
        await run_pod(options)
    kill(options, "kube-apiserver")
    cluster = NodeCluster(options, {})
    paths = StatePaths(options.directory)

    def was_revived() -> bool:
        status = read_status(paths.status)
        return status is not None and "started again" in status.components["kube-apiserver"]

    async with cluster.as_admin() as client:
        bench = Bench(cluster, client, "stay")

        async def works_again() -> bool:
            try:
                return was_revived() and await bench.exists("pods", "stay")
            except KubeError:
                return False

        await bench.until("the API server is back", works_again)
        await bench.create_pod("after", pod_spec("echo after; sleep 60"))
        await bench.until_ready("after")
        status = (await bench.get("pods", "stay"))["status"]
    assert status["containerStatuses"][0]["restartCount"] == 0


@pytest.mark.parametrize("limit", ["max_user_namespaces", "max_net_namespaces"])
def test_a_kernel_that_forbids_namespaces_is_reported_with_what_to_do(
    options: ClusterOptions, limit: str
) -> None:
    output = subprocess.run(
        [sys.executable, "-c", _FORBIDDEN, options.encode(), limit],
        check=True,
        capture_output=True,
        text=True,
    ).stdout
    assert output.startswith("this kernel does not let an ordinary user make ")
    assert "sysctl -w user.max_user_namespaces=" in output
    assert "Traceback" not in output
    assert find_daemon(StatePaths(options.directory)) is None


def test_a_start_that_is_interrupted_at_once_leaves_nothing(options: ClusterOptions) -> None:
    output = subprocess.run(
        [sys.executable, "-c", _INTERRUPTED, options.encode()], check=True, capture_output=True, text=True
    ).stdout
    assert output == "started\ninterrupted\n"
    assert find_daemon(StatePaths(options.directory)) is None


def test_the_command_line_starts_shows_and_stops_it(options: ClusterOptions) -> None:
    def run(action: str, *arguments: str) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-m", "kagenti_devcluster.cli.main", action, *arguments]
        folder = ["--directory", str(options.directory)]
        return subprocess.run([*command, *folder], capture_output=True, text=True, check=False)

    paths = StatePaths(options.directory)
    down = run("status")
    assert (down.returncode, down.stdout) == (1, "cluster  down\n")
    started = run("up", "--bare", "--images", str(options.images))
    assert started.returncode == 0
    assert f"export KUBECONFIG={paths.kubeconfig}\n" in started.stdout
    assert "up already" in run("up", "--bare").stdout
    status = json.loads(run("status", "--json").stdout)
    assert status["phase"] == "ready"
    assert set(status["components"].values()) == {"running"}
    assert "kube-apiserver\n" in run("logs").stdout
    assert "etcd, API server and controller manager run" in run("logs", "node").stdout
    unknown = run("logs", "nobody")
    assert unknown.returncode == 1
    assert unknown.stderr.startswith("kagenti-devcluster: there is no log of 'nobody'")
    assert run("down", "--purge").stdout.startswith("the cluster is down\n")
    assert not options.directory.exists()
    assert run("down").stdout == "no cluster was up\n"


def test_a_table_of_images_that_cannot_be_read_is_reported(tmp_path: Path) -> None:
    options = build_options(tmp_path / "devcluster")
    assert options.images is not None
    options.images.write_text("images: [{repository: x}]")
    with pytest.raises(DevClusterError, match=r"images\.yaml cannot be used: .*repository"):
        start(options)
    options.images.unlink()
    with pytest.raises(DevClusterError, match=r"images\.yaml cannot be used: .*No such file"):
        start(options)
    assert find_daemon(StatePaths(options.directory)) is None
