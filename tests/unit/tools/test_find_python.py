"""`tools/find-python.sh`: which Python `make` takes, and what it says of those that do not do."""

import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

SCRIPT = Path(__file__).parents[3] / "tools" / "find-python.sh"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """The only folder on PATH, with what the script itself needs."""
    for name in ("bash", "cat", "dirname"):
        found = shutil.which(name)
        assert found is not None
        (tmp_path / name).symlink_to(found)
    return tmp_path


def put_python(folder: Path, name: str, *, without: str = "") -> Path:
    """This Python under another name, as if it had been built without some modules."""
    boot = "import sys; sys.modules |= dict.fromkeys(sys.argv[1].split()); exec(sys.stdin.read())"
    path = folder / name
    command = [sys.executable, "-c", boot, without]
    path.write_text(f"#!{folder}/bash\nexec {shlex.join(command)}\n")
    path.chmod(0o755)
    return path


def find(folder: Path, **environ: str) -> subprocess.CompletedProcess[str]:
    given = {"PATH": str(folder), "HOME": str(folder), **environ}
    return subprocess.run([folder / "bash", SCRIPT], env=given, capture_output=True, text=True, check=False)


def test_one_on_path_is_taken(folder: Path) -> None:
    python = put_python(folder, "python3.13")
    assert find(folder).stdout == f"{python}\n"


def test_one_that_lacks_a_module_is_passed_over(folder: Path) -> None:
    put_python(folder, "python3.13", without="ssl sqlite3")
    other = put_python(folder, "python3")
    assert find(folder).stdout == f"{other}\n"


def test_what_is_lacking_is_reported_where_none_does(folder: Path) -> None:
    broken = put_python(folder, "python3.13", without="ctypes sqlite3")
    stand_in = folder / "python3"
    stand_in.write_text(f"#!{folder}/bash\nexit 127\n")
    stand_in.chmod(0o755)
    done = find(folder)
    assert done.returncode == 1
    assert f"passed over: {broken} lacks sqlite3, ctypes\n" in done.stderr
    assert f"passed over: {stand_in} does not run\n" in done.stderr
    assert "libsqlite3-dev" in done.stderr
