"""`tools/build.py` as a user runs it, with a stand-in for the Go toolchain that takes no time."""

import subprocess
import sys
from pathlib import Path

import pytest

from kagenti_devcluster.toolchain import binaries

ROOT = Path(__file__).parents[3]
BUILD = (sys.executable, str(ROOT / "tools" / "build.py"))

# Notes each call and writes what the real ones write: the binary, the collector's main program.
GO = """\
#!/bin/sh
echo "$PWD: $*" >> "$CALLS"
case "$1 $2" in
  "env GOVERSION") echo go1.99.0 ;;
  "tool builder")
    mkdir source
    echo 'package main' > source/main.go
    echo 'module other' > source/go.mod ;;
  build*)
    [ -z "$BROKEN" ] || { echo "undefined: everything" >&2; exit 1; }
    while [ "$1" != -o ]; do shift; done
    [ "$3" != . ] || { cp main.go go.mod "$COPIES"; }
    while [ -e "$HOLD" ]; do sleep 0.02; done
    echo built > "$2" ;;
esac
"""


class Machine:
    """A machine with the stand-in on PATH and an empty cache."""

    def __init__(self, folder: Path) -> None:
        self.cache = folder / "cache"
        self.calls = folder / "calls"
        self.copies = folder / "copies"
        # As long as this file is there, a build does not end.
        self.hold = folder / "hold"
        self.copies.mkdir()
        self.calls.touch()
        self._environ = {
            "PATH": f"{folder}:/usr/bin:/bin",
            "HOME": str(folder),
            "KAGENTI_CACHE_DIR": str(self.cache),
            "CALLS": str(self.calls),
            "COPIES": str(self.copies),
            "HOLD": str(self.hold),
        }
        (folder / "go").write_text(GO)
        (folder / "go").chmod(0o755)

    def build(self, *arguments: str, **environ: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [*BUILD, *arguments], env=self._environ | environ, capture_output=True, text=True, check=False
        )

    def begin(self, *arguments: str) -> "subprocess.Popen[str]":
        return subprocess.Popen(
            [*BUILD, *arguments], env=self._environ, stdout=subprocess.PIPE, text=True, bufsize=1
        )

    def builds(self) -> list[str]:
        return [call for call in self.calls.read_text().splitlines() if ": build " in call]

    def binaries(self) -> list[str]:
        return [path.name for path in self.cache.glob("bin/*/*/*")]


@pytest.fixture
def machine(tmp_path: Path) -> Machine:
    return Machine(tmp_path)


def test_what_is_missing_is_built_once(machine: Machine) -> None:
    first = machine.build("etcd")
    assert first.returncode == 0, first.stderr
    assert "building etcd: about" in first.stdout
    assert machine.binaries() == ["etcd"]
    second = machine.build("etcd")
    [path] = machine.cache.glob("bin/etcd/*/etcd")
    assert second.stdout.rstrip().endswith(str(path))
    assert len(machine.builds()) == 1


def test_two_builders_do_not_collide(machine: Machine) -> None:
    machine.hold.touch()
    first = machine.begin("etcd")
    try:
        assert first.stdout is not None
        assert "building etcd: about" in first.stdout.readline()
        second = machine.begin("etcd")
        assert second.stdout is not None
        assert "waiting for it" in second.stdout.readline()
    finally:
        machine.hold.unlink()
        first.communicate()
    second.communicate()
    assert [first.returncode, second.returncode] == [0, 0]
    assert len(machine.builds()) == 1


def test_a_failed_build_says_what_go_said_and_leaves_no_binary(machine: Machine) -> None:
    done = machine.build("etcd", BROKEN="yes")
    assert done.returncode == 1
    assert "undefined: everything" in done.stderr
    assert "Traceback" not in done.stderr
    assert machine.binaries() == []


def test_the_collector_is_built_from_its_generated_program_and_the_pinned_modules(machine: Machine) -> None:
    done = machine.build("otelcol")
    assert done.returncode == 0, done.stderr
    assert (machine.copies / "main.go").read_text() == "package main\n"
    assert (machine.copies / "go.mod").read_text() == (ROOT / "tools" / "otelcol" / "go.mod").read_text()


def test_where_says_what_is_missing(machine: Machine) -> None:
    done = machine.build("--where", "etcd")
    assert done.returncode == 1
    assert "run `make binaries`" in done.stdout
    assert machine.builds() == []


def test_all_but_one_are_built(machine: Machine) -> None:
    done = machine.build("--without", "kube-score", "--without", "keycloak")
    assert done.returncode == 0, done.stderr
    assert set(machine.binaries()) == set(binaries.TOOLS) - {"kube-score"}


def test_that_maven_is_missing_is_said_before_anything_is_built(machine: Machine, tmp_path: Path) -> None:
    done = machine.build(PATH=str(tmp_path))
    assert done.returncode == 1
    assert "no Maven client (mvn) on PATH. Get one: `apt-get install maven`" in done.stderr
    assert machine.builds() == []


@pytest.mark.parametrize("arguments", [("minikube",), ("--without", "minikube")], ids=lambda a: a[0])
def test_an_unknown_tool_is_refused(machine: Machine, arguments: tuple[str, ...]) -> None:
    done = machine.build(*arguments)
    assert done.returncode == 2
    assert "no such tool: minikube" in done.stderr
