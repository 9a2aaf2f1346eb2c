"""Virtual environments for the programs that must not share one with the operator.

MLflow pins libraries that the operator has no use for, and the weather agent stands for somebody else's
program: each gets an environment in the cache, installed from its own hash-locked list in `requirements/`.
"""

import argparse
import os
import shutil
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

from kagenti_devcluster.errors import DevClusterError
from kagenti_devcluster.toolchain.cache import Say, cache_dir, checkout, digest, exclusive

# What the cluster's pods run in. `tools/build.py` keeps a Go toolchain in one more, where there is no Go.
MLFLOWS = ("mlflow-3.10", "mlflow-3.14", "mlflow-3.17")
# What tests and benchmarks run where they do not say otherwise.
DEFAULT_MLFLOW = "mlflow-3.17"
# What the default profile needs (profiles.py).
DEFAULT_ENVIRONMENTS = ("mlflow-3.14", "agent")
POD_ENVIRONMENTS = (*MLFLOWS, "agent")

_COMPLETE = ".complete"


class EnvironmentMissing(Exception):
    """No complete environment of that name is in the cache; the message says how to make it."""


class EnvironmentFailed(Exception):
    """The environment could not be made; the message says why."""


def find(name: str, environ: Mapping[str, str] = os.environ) -> Path:
    """Return the path of the environment's Python interpreter.

    In a checkout only the environment that fits the lock file counts; an installed package has no lock file
    and takes the newest. Raises EnvironmentMissing.
    """
    folder = _folder(name, environ)
    candidates = [folder] if folder else _newest_first(cache_dir(environ) / "envs", name)
    for candidate in candidates:
        if _complete(candidate):
            return _python(candidate)
    where = folder or cache_dir(environ) / "envs"
    # Keycloak's Java comes with it.
    target = "envs" if name in DEFAULT_ENVIRONMENTS else "binaries" if name == "java" else "all-envs"
    raise EnvironmentMissing(f"the Python environment for {name} is not in {where}: run `make {target}`")


def check_mlflow(release: str) -> None:
    """Raise DevClusterError, which says how to make it, unless the environment of that MLflow is there."""
    try:
        find(f"mlflow-{release}")
    except EnvironmentMissing as missing:
        raise DevClusterError(str(missing)) from missing


def ensure(name: str, environ: Mapping[str, str] = os.environ, say: Say = print) -> Path:
    """Make the environment unless it is there, and return the path of its Python interpreter.

    Raises EnvironmentFailed.
    """
    folder = _folder(name, environ)
    if folder is None:
        return find(name, environ)
    if not _complete(folder):
        with exclusive(folder.with_name(f".{name}.lock"), say):
            if not _complete(folder):
                _make(name, folder, say)
    return _python(folder)


def _folder(name: str, environ: Mapping[str, str]) -> Path | None:
    lock = _lock_file(name)
    if lock is None:
        return None
    python = f"{sys.implementation.cache_tag}"
    return cache_dir(environ) / "envs" / f"{name}-{digest([lock], python)}"


def _lock_file(name: str) -> Path | None:
    root = checkout()
    return root / "requirements" / f"{name}.txt" if root else None


def _newest_first(envs: Path, name: str) -> list[Path]:
    return sorted(envs.glob(f"{name}-*/"), key=lambda folder: folder.stat().st_mtime, reverse=True)


def _python(folder: Path) -> Path:
    return folder / "bin" / "python"


def _complete(folder: Path) -> bool:
    # The interpreter is a link to the one it was made with, which may have been removed since.
    return (folder / _COMPLETE).is_file() and _python(folder).is_file()


def _make(name: str, folder: Path, say: Say) -> None:
    """Install in place: scripts name their interpreter by its full path, so the folder cannot move later."""
    lock = _lock_file(name)
    if lock is None:
        raise EnvironmentFailed(f"no lock file for {name}: environments are made from a checkout")
    uv = _uv()
    if folder.exists():
        shutil.rmtree(folder)
    packages = sum(1 for line in lock.read_text().splitlines() if line[:1].isalnum())
    say(f"{name}: {packages} packages into {folder}")
    _run([uv, "venv", "--quiet", "--python", sys.executable, str(folder)])
    # A list is complete without resolving anew, which would ask for what was left out on purpose.
    install = [uv, "pip", "install", "--no-deps", "--require-hashes", "--compile-bytecode"]
    _run([*install, "--python", str(_python(folder)), "--requirements", str(lock)])
    (folder / _COMPLETE).touch()


def _uv() -> str:
    beside = Path(sys.prefix) / "bin" / "uv"
    uv = str(beside) if beside.is_file() else shutil.which("uv")
    if uv is None:
        raise EnvironmentFailed("uv is needed to make Python environments: run `make`, which installs it")
    return uv


def _run(command: list[str]) -> None:
    """Run uv, showing what it tells but for its list of every package."""
    with subprocess.Popen(command, stdin=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True) as process:
        assert process.stderr is not None
        for line in process.stderr:
            if not line.startswith(" +"):
                print(f"  {line.rstrip()}", file=sys.stderr, flush=True)
    if process.returncode:
        raise EnvironmentFailed(
            f"`{' '.join(command)}` ended with {process.returncode}: see its messages above"
        )


def main() -> int:
    """Make the environments that the cluster runs by default, or all that it can run."""
    parser = argparse.ArgumentParser(description="Make the Python environments of the local cluster.")
    parser.add_argument("--all", action="store_true", help="every version of MLflow, not the default alone")
    for name in POD_ENVIRONMENTS if parser.parse_args().all else DEFAULT_ENVIRONMENTS:
        try:
            print(f"{name}: {ensure(name)}", flush=True)
        except EnvironmentFailed as failure:
            print(f"{name}: {failure}", file=sys.stderr)
            return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
