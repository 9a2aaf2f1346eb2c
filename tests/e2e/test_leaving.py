"""However the demo ends, nothing runs afterwards that it started."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Generator, Mapping
from pathlib import Path

import pytest

from kagenti_devcluster.demo.commands import checkout_path
from kagenti_devcluster.demo.plan import PLAN
from kagenti_devcluster.host.launcher import find_daemon, stop
from kagenti_devcluster.host.paths import StatePaths
from kagenti_devcluster.host.status import read_status
from tests.support.demo_run import DemoRun, command, run_demo
from tests.support.processes import Identity, find_alive, find_descendants

_SECONDS = 60.0


def wait_for[T](what: str, look: Callable[[], T | None], seconds: float = _SECONDS) -> T:
    deadline = time.monotonic() + seconds
    while (found := look()) is None:
        assert time.monotonic() < deadline, f"{what}: not within {seconds:.0f} s"
        time.sleep(0.1)
    return found


def wait_until_gone(processes: set[Identity]) -> None:
    left: list[str] = []

    def gone() -> bool | None:
        left[:] = find_alive(processes)
        return True if not left else None

    try:
        wait_for("processes gone", gone)
    except AssertionError:
        pytest.fail("still running:\n" + "\n".join(left))


@pytest.fixture
def own_directory(tmp_path: Path) -> Generator[Path]:
    yield tmp_path
    stop(tmp_path)


def begin(directory: Path) -> subprocess.Popen[str]:
    return subprocess.Popen(
        command(directory, "demo"), stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, text=True
    )


def end(demo: subprocess.Popen[str], number: signal.Signals) -> None:
    os.kill(demo.pid, number)
    try:
        demo.communicate(timeout=_SECONDS)
    except subprocess.TimeoutExpired:
        demo.kill()
        raise


def control_plane_of(directory: Path) -> set[Identity] | None:
    """All processes of a cluster, once its API server is among them."""
    daemon = find_daemon(StatePaths(directory))
    found = find_descendants(daemon) if daemon else set[Identity]()
    return found if any("kube-apiserver" in line for line in find_alive(found)) else None


@pytest.fixture
def heard_interrupts() -> Generator[None]:
    """Ctrl-C reaches what is started, also where the tests run in the background, which ignores it."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


def step_of(directory: Path) -> str | None:
    """What a cluster that starts has come to; its first step is that the API server answers."""
    status = read_status(StatePaths(directory).status)
    return status.steps[-1] if status and status.steps and status.phase in ("starting", "ready") else None


@pytest.mark.usefixtures("heard_interrupts")
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL], ids=lambda n: n.name)
def test_a_demo_that_is_interrupted_or_killed_leaves_no_process_and_another_starts_at_once(
    own_directory: Path, number: signal.Signals
):
    demo = begin(own_directory)
    processes = wait_for("API server", lambda: control_plane_of(own_directory))
    processes |= find_descendants(demo.pid)
    end(demo, number)
    wait_until_gone(processes)
    assert find_daemon(StatePaths(own_directory)) is None
    again = begin(own_directory)
    wait_for("API server of a second run", lambda: step_of(own_directory))
    end(again, signal.SIGINT)


@pytest.fixture
def own_model() -> Generator[tuple[Mapping[str, str], "subprocess.Popen[str]"]]:
    """A model outside the cluster, and the variables that name it."""
    program = str(checkout_path("examples/stand-in-model/stand_in_model.py"))
    # Not 127.0.0.1, at which a pod finds only itself.
    with subprocess.Popen(
        [sys.executable, "-u", program],
        env={"HOST": "127.0.0.2", "PORT": "0"},
        stdin=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stderr is not None
        port = process.stderr.readline().rpartition(":")[2].strip()
        variables = {"INFERENCE_MODEL": "my-model", "VLLM_URL": f"http://127.0.0.2:{port}/v1"}
        yield variables, process
        process.kill()


def test_on_open_data_hub_with_a_model_of_ones_own(
    own_directory: Path, own_model: tuple[Mapping[str, str], "subprocess.Popen[str]"]
):
    variables, model = own_model
    demo = run_demo(own_directory, "--profile=open-data-hub", "--once", seconds=540.0, model=variables)
    assert demo.status == 0, demo.output
    assert all(demo.holds(step.title) for step in PLAN)
    assert f"its model: my-model at {variables['VLLM_URL']}" in demo.output
    assert find_daemon(StatePaths(own_directory)) is None
    model.kill()
    assert "POST /v1/chat/completions" in model.communicate()[1]


def test_a_second_run_takes_the_cluster_that_runs_with_another_model_and_once_leaves_nothing(
    directory: Path, demo: DemoRun, own_model: tuple[Mapping[str, str], "subprocess.Popen[str]"]
):
    variables, model = own_model
    assert demo.status == 0, demo.output
    daemon = find_daemon(StatePaths(directory))
    assert daemon is not None
    processes = find_descendants(daemon)
    again = run_demo(directory, "--once", seconds=300.0, model=variables)
    assert again.status == 0, again.output
    assert "running already" in again.block("Start the cluster")
    # The agent that ran with the stand-in was rolled.
    assert "chat my-model " in again.block("Find the trace of that request in MLflow")
    model.kill()
    assert "POST /v1/chat/completions" in model.communicate()[1]
    assert find_alive(processes) == []
    assert json.loads(StatePaths(directory).status.read_text())["phase"] == "stopped"
