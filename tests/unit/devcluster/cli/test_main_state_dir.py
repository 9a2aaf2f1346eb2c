"""State directories that are no cluster's or cannot be used stay as they are, and are named."""

import fcntl
from pathlib import Path

import pytest

from kagenti_devcluster.cli import demo
from kagenti_devcluster.cli.main import main
from kagenti_devcluster.host.paths import StatePaths

# A project of somebody's, with names that a cluster uses as well.
_SOMEBODYS = {"logs/app.log": "one", "run/job": "two", "kubeconfig": "three", "lock": "four", "x/y": "five"}


@pytest.fixture(autouse=True)
def mlflow_is_there(monkeypatch: pytest.MonkeyPatch) -> None:
    """These need no MLflow, and are to run before `make envs` has made one."""
    monkeypatch.setattr(demo, "check_mlflow", str)


def write(folder: Path, contents: dict[str, str]) -> None:
    for name, text in contents.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)


def contents(folder: Path) -> dict[str, str]:
    return {str(p.relative_to(folder)): p.read_text() for p in folder.rglob("*") if p.is_file()}


def run(folder: Path, *arguments: str) -> int:
    return main([*arguments, "--directory", str(folder)])


@pytest.mark.parametrize(
    "somebodys",
    [
        _SOMEBODYS,
        {"notes": "one"},
        {"lock": "", "logs/app.log": "no daemon is named"},
        {"lock": "of something else", "daemon.json": "{}"},
    ],
)
@pytest.mark.parametrize("action", [("up", "--bare"), ("down", "--purge"), ("demo", "--once")])
def test_a_folder_that_holds_something_else_is_refused_and_left_as_it_is(
    tmp_path: Path,
    action: tuple[str, ...],
    somebodys: dict[str, str],
    capsys: pytest.CaptureFixture[str],
):
    write(tmp_path, somebodys)
    tmp_path.chmod(0o750)
    assert run(tmp_path, *action) == 1
    assert contents(tmp_path) == somebodys
    assert tmp_path.stat().st_mode & 0o777 == 0o750
    captured = capsys.readouterr()
    assert (
        f"{tmp_path} holds files that are not a cluster's: nothing was changed in it; "
        "name another directory with --directory"
    ) in captured.out + captured.err


def left_behind(folder: Path) -> StatePaths:
    """What a cluster and a demo on it leave, and what is left of them when they are killed."""
    paths = StatePaths(folder)
    made = (
        paths.lock,
        paths.pid,
        paths.status,
        paths.kubeconfig,
        paths.node_log,
        paths.root / "node.log.1",
        paths.root / ".status.json.17",
        paths.root / ".daemon.json.17",
        paths.control_plane / "etcd" / "data",
        paths.pods / "one" / "volume",
        paths.claims / "one" / "file",
        paths.helm / "cache" / "file",
        paths.container_log("team1", "web", "main"),
    )
    write(folder, {str(path.relative_to(folder)): "" for path in made})
    paths.run.mkdir()
    return paths


def test_purge_removes_a_clusters_directory(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    left_behind(tmp_path / "own")
    assert run(tmp_path / "own", "down", "--purge") == 0
    assert not (tmp_path / "own").exists()
    assert capsys.readouterr().out == f"no cluster was up\nremoved {tmp_path / 'own'}\n"


def test_purge_leaves_what_was_put_into_a_clusters_directory(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    paths = left_behind(tmp_path / "own")
    write(tmp_path / "elsewhere", {"kept": "one"})
    (paths.logs / "team1" / "web" / "main.log").unlink()
    (paths.logs / "team1" / "web").rmdir()
    (paths.logs / "team1").rmdir()
    paths.logs.rmdir()
    paths.logs.symlink_to(tmp_path / "elsewhere")
    write(paths.root, {"notes": "two"})
    assert run(paths.root, "down", "--purge") == 0
    assert contents(tmp_path) == {"own/notes": "two", "elsewhere/kept": "one"}
    assert [entry.name for entry in paths.root.iterdir()] == ["notes"]
    assert f"removed the cluster's files from {paths.root}, and left what else" in capsys.readouterr().out


def test_a_start_that_was_killed_at_once_left_a_clusters_directory(tmp_path: Path):
    write(tmp_path / "own", {"lock": "", "node.log": "", ".daemon.json.17": ""})
    assert run(tmp_path / "own", "down", "--purge") == 0
    assert not (tmp_path / "own").exists()


@pytest.mark.parametrize("action", [("up", "--bare"), ("demo", "--once")])
@pytest.mark.parametrize("name", ["/proc/nope", "a-file", "a-file/below", "x" * 300])
def test_a_folder_that_cannot_be_made_is_reported(
    tmp_path: Path, name: str, action: tuple[str, ...], capsys: pytest.CaptureFixture[str]
):
    write(tmp_path, {"a-file": "kept"})
    assert run(tmp_path / name, *action) == 1
    said = capsys.readouterr().err
    assert said.startswith(f"kagenti-devcluster: the state directory {tmp_path / name} cannot be used: ")
    assert said.endswith("; give another with --directory\n")
    assert contents(tmp_path) == {"a-file": "kept"}


@pytest.mark.parametrize("action", ["status", "logs", "down"])
def test_a_folder_that_cannot_be_looked_at_is_reported(
    tmp_path: Path, action: str, capsys: pytest.CaptureFixture[str]
):
    folder = tmp_path / ("x" * 300)
    assert run(folder, action) == 1
    assert f"the state directory {folder} cannot be used: " in capsys.readouterr().err


@pytest.mark.parametrize("text", [b"", b'{"phase":"rea', b"{}", b'{"phase":"\xff"}'])
def test_a_damaged_status_is_reported_with_what_to_do(
    tmp_path: Path, text: bytes, capsys: pytest.CaptureFixture[str]
):
    paths = left_behind(tmp_path)
    paths.status.write_bytes(text)
    assert run(tmp_path, "status") == 1
    said = capsys.readouterr().err
    assert said.startswith(f"kagenti-devcluster: {paths.status} is damaged (")
    assert (
        "run `kagenti-devcluster down` and `up` on this directory, or name another one with --directory"
        in said
    )
    assert run(tmp_path, "down") == 0


def test_a_lock_that_nobody_owns_up_to_is_reported(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    paths = left_behind(tmp_path)
    with paths.lock.open("ab") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        assert run(tmp_path, "down") == 1
    said = capsys.readouterr().err
    assert f"{paths.pid} is damaged (" in said
    assert f"it does not say which process holds {paths.lock}; end that process, or name another" in said
