"""`sandbox up` where a sandbox runs already, told by a lock that this process holds in its place."""

import fcntl
import os
from collections.abc import Generator
from pathlib import Path

import pytest

from kagenti_operator.cli.main import main
from kagenti_operator.sandbox.keeper import write_holder
from kagenti_operator.sandbox.paths import StatePaths
from kagenti_operator.sandbox.status import Phase, Status, write_status


@pytest.fixture
def paths(tmp_path: Path) -> Generator[StatePaths]:
    made = StatePaths(tmp_path)
    with made.lock.open("wb") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        write_holder(made, os.getpid())
        yield made


def up(paths: StatePaths, *arguments: str) -> int:
    return main(["sandbox", "up", "--directory", str(paths.root), *arguments])


def test_one_that_is_ready_is_shown(paths: StatePaths, capsys: pytest.CaptureFixture[str]):
    write_status(
        paths.status, Status(phase="ready", platform="openshift", addresses={"mlflow": "127.0.0.1:9"})
    )
    assert up(paths) == 0
    said = capsys.readouterr().out
    assert said.startswith("the sandbox is up already\n")
    assert "127.0.0.1:9" in said


@pytest.mark.parametrize("phase", [None, "starting"])
def test_one_that_is_starting_is_not_up(
    paths: StatePaths, phase: Phase | None, capsys: pytest.CaptureFixture[str]
):
    if phase:
        write_status(paths.status, Status(phase=phase, platform="openshift"))
    assert up(paths) == 1
    said = capsys.readouterr()
    assert "a sandbox is starting: wait until `kagenti-operator sandbox status` says" in said.err
    assert "up already" not in said.out


def test_one_that_is_stopping_is_not_up(paths: StatePaths, capsys: pytest.CaptureFixture[str]):
    write_status(paths.status, Status(phase="stopping", platform="openshift"))
    assert up(paths) == 1
    assert "its state is 'stopping': end it with `kagenti-operator sandbox down`" in capsys.readouterr().err


def test_one_of_another_platform_is_not_what_is_asked_for(
    paths: StatePaths, capsys: pytest.CaptureFixture[str]
):
    write_status(paths.status, Status(phase="ready", platform="openshift"))
    assert up(paths, "--platform", "kubernetes") == 1
    assert "looks like openshift, not like kubernetes: end it with" in capsys.readouterr().err
