"""One cluster for all: the demo is run on it first, and the tests go on where it ended."""

from collections.abc import AsyncGenerator, Generator
from contextlib import AsyncExitStack
from io import StringIO
from pathlib import Path

import pytest

from kagenti_devcluster.demo.report import Console
from kagenti_devcluster.demo.stage import Stage
from kagenti_devcluster.host.launcher import find_daemon, stop
from kagenti_devcluster.host.options import ClusterOptions
from kagenti_devcluster.host.paths import StatePaths
from kagenti_devcluster.host.status import read_status
from tests.e2e.names import NAMES
from tests.support.demo_run import DemoRun, run_demo
from tests.support.recorded_requests import RecordRequests, operator_of

_DEMO_SECONDS = 540.0


@pytest.fixture(scope="session")
def directory(tmp_path_factory: pytest.TempPathFactory, record_requests: RecordRequests) -> Generator[Path]:
    """State folder of the cluster that the tests share; whatever runs in it at the end is ended."""
    folder = tmp_path_factory.mktemp("devcluster")
    yield folder
    stop(folder)
    record_requests(StatePaths(folder).audit_log, operator_of(NAMES))


@pytest.fixture(scope="session")
def demo(directory: Path) -> DemoRun:
    """The demo, run once from nothing."""
    return run_demo(directory, seconds=_DEMO_SECONDS)


@pytest.fixture
async def stage(directory: Path, demo: DemoRun) -> AsyncGenerator[Stage]:
    """The cluster as the demo left it."""
    assert find_daemon(StatePaths(directory)), f"the demo left no cluster:\n{demo.output}"
    async with AsyncExitStack() as exits:
        made = Stage(ClusterOptions(directory=directory), Console(StringIO()), exits, {})
        status = read_status(made.paths.status)
        assert status is not None
        made.addresses = status.addresses
        await made.connect()
        yield made


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """What ends the shared cluster comes last, before it what looks back, and what changes the operator."""
    subjects = ("demo", "outage", "rotation", "authorization", "helm_release", "reports", "leaving")
    order = [f"test_{subject}.py" for subject in subjects]
    items.sort(key=lambda item: order.index(item.path.name) if item.path.name in order else -1)
