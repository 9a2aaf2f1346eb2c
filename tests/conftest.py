"""Options of the whole test suite."""

import signal
from pathlib import Path

import pytest
from hypothesis import settings

from tests.support.recorded_requests import OPERATOR, RecordRequests, write_record

# How long an example takes says more about the machine than about the code.
settings.register_profile("untimed", deadline=None)
settings.load_profile("untimed")


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--update-golden",
        action="store_true",
        help="write what the code renders today into the golden files, for review by git diff",
    )
    parser.addoption(
        "--requests",
        type=Path,
        metavar="FOLDER",
        help="where to put what the operator asked of each API server, or to find it (tests/permissions)",
    )


def pytest_configure(config: pytest.Config) -> None:
    # Whoever bounds a run (.ci/run) ends it with SIGTERM: as for Ctrl-C, say where it was, and take down what
    # fixtures started. Workers of xdist are ended by the process that has them.
    if not hasattr(config, "workerinput"):
        signal.signal(signal.SIGTERM, signal.default_int_handler)


@pytest.fixture(scope="session")
def record_requests(request: pytest.FixtureRequest) -> RecordRequests:
    """Put down what the operator asked according to an audit log, if that is wanted."""
    folder: Path | None = request.config.getoption("--requests")

    def record(audit_log: Path, user: str = OPERATOR) -> None:
        if folder:
            write_record(folder, audit_log, user)

    return record


@pytest.fixture
def update_golden(request: pytest.FixtureRequest) -> bool:
    return bool(request.config.getoption("--update-golden"))
