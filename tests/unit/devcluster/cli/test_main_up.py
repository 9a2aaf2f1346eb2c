"""`up` where it starts no cluster, mostly as one runs: this process holds the lock in its place."""

import fcntl
import os
from collections.abc import Generator
from pathlib import Path
from shlex import quote

import pytest

from kagenti_devcluster.cli.main import main
from kagenti_devcluster.host.daemon import write_holder
from kagenti_devcluster.host.paths import StatePaths
from kagenti_devcluster.host.status import Phase, Status, write_status


@pytest.fixture
def paths(tmp_path: Path) -> Generator[StatePaths]:
    made = StatePaths(tmp_path / "my folder's")
    made.root.mkdir()
    with made.lock.open("wb") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        write_holder(made, os.getpid())
        yield made


def up(paths: StatePaths, *arguments: str) -> int:
    return main(["up", "--directory", str(paths.root), *arguments])


def test_one_that_is_ready_is_shown(paths: StatePaths, capsys: pytest.CaptureFixture[str]):
    write_status(
        paths.status, Status(phase="ready", profile="openshift-ai-3.5", addresses={"mlflow": "127.0.0.1:9"})
    )
    assert up(paths) == 0
    said = capsys.readouterr().out
    assert said.startswith("the cluster is up already\n")
    assert "127.0.0.1:9" in said
    assert f"export KUBECONFIG={quote(str(paths.kubeconfig))}\n" in said


@pytest.mark.parametrize("phase", [None, "starting"])
def test_one_that_is_starting_is_not_up(
    paths: StatePaths, phase: Phase | None, capsys: pytest.CaptureFixture[str]
):
    if phase:
        write_status(paths.status, Status(phase=phase, profile="openshift-ai-3.5"))
    assert up(paths) == 1
    said = capsys.readouterr()
    assert f"wait until `kagenti-devcluster status --directory {quote(str(paths.root))}` says" in said.err
    assert "up already" not in said.out


def test_one_that_is_stopping_is_not_up(paths: StatePaths, capsys: pytest.CaptureFixture[str]):
    write_status(paths.status, Status(phase="stopping", profile="openshift-ai-3.5"))
    assert up(paths) == 1
    command = f"`kagenti-devcluster down --directory {quote(str(paths.root))}`"
    assert f"its state is 'stopping': end it with {command}" in capsys.readouterr().err


def test_one_of_another_platform_is_not_what_is_asked_for(
    paths: StatePaths, capsys: pytest.CaptureFixture[str]
):
    write_status(paths.status, Status(phase="ready", profile="openshift-ai-3.5"))
    assert up(paths, "--profile", "kubernetes") == 1
    assert "looks like openshift-ai-3.5, not like kubernetes: end it with" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("given", "named"),
    [
        (["--images", "/nope", "--foreground"], "--images, --foreground"),
        (["--bare"], "--bare"),
        (["--keycloak"], "--keycloak"),
    ],
)
def test_one_that_is_up_does_not_take_up_options(
    paths: StatePaths, given: list[str], named: str, capsys: pytest.CaptureFixture[str]
):
    write_status(paths.status, Status(phase="ready", profile="openshift-ai-3.5"))
    assert up(paths, *given) == 1
    said = capsys.readouterr()
    assert f"a cluster that is up cannot take up {named} any more: end it with `kagenti-" in said.err
    assert "up already" not in said.out


def test_one_that_is_bare_is_what_bare_asks_for(paths: StatePaths, capsys: pytest.CaptureFixture[str]):
    write_status(paths.status, Status(phase="ready", profile="openshift-ai-3.5", bare=True))
    assert up(paths, "--bare") == 0
    assert "the cluster is up already\n" in capsys.readouterr().out


def test_the_default_folder_is_skipped_of_what_to_type(
    paths: StatePaths, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    monkeypatch.setenv("KAGENTI_DEVCLUSTER_DIR", str(paths.root))
    write_status(paths.status, Status(phase="stopping", profile="openshift-ai-3.5"))
    assert main(["up"]) == 1
    assert "end it with `kagenti-devcluster down`, then" in capsys.readouterr().err


@pytest.mark.parametrize("command", ["up", "demo"])
def test_a_profile_whose_mlflow_is_not_there_is_refused_with_how_to_get_it(
    command: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
):
    monkeypatch.setenv("KAGENTI_CACHE_DIR", str(tmp_path / "cache"))
    assert main([command, "--directory", str(tmp_path / "state"), "--profile", "next"]) == 1
    said = capsys.readouterr().err
    assert said.startswith("kagenti-devcluster: the Python environment for mlflow-3.17 is not in ")
    assert said.endswith("run `make all-envs`\n")


@pytest.mark.parametrize("command", ["up", "demo"])
def test_a_keycloak_that_is_not_there_is_refused_with_how_to_get_it(
    command: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    for module in ("kagenti_devcluster.toolchain.environments", "kagenti_devcluster.cli.demo"):
        monkeypatch.setattr(f"{module}.check_mlflow", str)
    monkeypatch.setenv("KAGENTI_CACHE_DIR", str(tmp_path / "cache"))
    assert main([command, "--directory", str(tmp_path / "state"), "--keycloak"]) == 1
    said = capsys.readouterr().err
    assert said.startswith("kagenti-devcluster: Keycloak 26.7.3 is not in ")
    assert said.endswith("run `make binaries`\n")


@pytest.mark.parametrize("command", ["up", "demo"])
def test_an_unknown_profile_is_refused_with_the_known_ones(
    command: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    assert main([command, "--directory", str(tmp_path), "--profile", "openshift"]) == 1
    assert capsys.readouterr().err == (
        "kagenti-devcluster: there is no profile 'openshift': there are openshift-ai-3.4, openshift-ai-3.5, "
        "next, open-data-hub, kubernetes\n"
    )
