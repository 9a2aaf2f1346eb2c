"""How Keycloak comes into the cache, with scripts that answer as Maven and Java do."""

import hashlib
import shlex
import zipfile
from pathlib import Path

import pytest

from kagenti_devcluster.toolchain import environments, keycloak
from kagenti_devcluster.toolchain.binaries import BinaryMissing

DISTRIBUTION = f"keycloak-quarkus-dist-{keycloak.VERSION}.zip"


def put_script(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f"#!/bin/sh\n{text}\n")
    path.chmod(0o755)


class Machine:
    """A user with an empty cache, Maven and a Java on PATH."""

    def __init__(self, folder: Path) -> None:
        self.path = folder / "path"
        self.calls = folder / "calls"
        self.archive = folder / DISTRIBUTION
        with zipfile.ZipFile(self.archive, "w") as content:
            script = f'#!/bin/sh\necho "kc.sh with $JAVA: $*" >>{shlex.quote(str(self.calls))}\n'
            content.writestr(f"keycloak-{keycloak.VERSION}/bin/kc.sh", script)
        self.environ = {
            "KAGENTI_CACHE_DIR": str(folder / "cache"),
            "PATH": f"{self.path}:/usr/bin:/bin",
        }
        self.put_java("openjdk 21.0.2 2024-01-16")
        put_script(
            self.path / "mvn",
            f'echo "mvn $*" >>{shlex.quote(str(self.calls))}\n'
            f'for a; do case $a in -DoutputDirectory=*) cp "{self.archive}" "${{a#*=}}" ;; esac; done',
        )

    def put_java(self, says: str) -> None:
        put_script(self.path / "java", f"echo {shlex.quote(says)}")

    @property
    def digest(self) -> str:
        return hashlib.sha256(self.archive.read_bytes()).hexdigest()


@pytest.fixture
def machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Machine:
    made = Machine(tmp_path)
    monkeypatch.setattr(keycloak, "SHA256", made.digest)
    return made


def test_it_is_got_by_maven_and_prepared_once(machine: Machine) -> None:
    with pytest.raises(BinaryMissing, match="run `make binaries`"):
        keycloak.find(machine.environ)
    folder = keycloak.ensure(print, machine.environ)
    assert keycloak.ensure(print, machine.environ) == folder == keycloak.find(machine.environ)
    maven, prepared = machine.calls.read_text().splitlines()
    assert f"-Dartifact=org.keycloak:keycloak-quarkus-dist:{keycloak.VERSION}:zip" in maven
    assert prepared == f"kc.sh with {machine.path}/java: build --db=dev-mem --health-enabled=true"
    # A read-only folder has a place to mount its volume at.
    assert (folder / "data").is_dir()
    assert [path.name for path in folder.parent.iterdir()] == [folder.name]


def test_another_archive_than_the_pinned_one_is_not_used(
    machine: Machine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(keycloak, "SHA256", "0" * 64)
    with pytest.raises(keycloak.KeycloakFailed, match=f"has the SHA-256 {machine.digest} instead of 000"):
        keycloak.ensure(print, machine.environ)
    with pytest.raises(BinaryMissing):
        keycloak.find(machine.environ)


def test_what_maven_says_is_shown(machine: Machine) -> None:
    put_script(machine.path / "mvn", "echo no route to the repository\nexit 1")
    with pytest.raises(keycloak.KeycloakFailed, match="no route to the repository"):
        keycloak.ensure(print, machine.environ)


def test_without_maven_it_says_how_to_get_one(machine: Machine) -> None:
    environ = machine.environ | {"PATH": str(machine.path / "nothing")}
    with pytest.raises(
        keycloak.KeycloakFailed, match=r"no Maven client \(mvn\) on PATH.*apt-get install maven"
    ):
        keycloak.ensure(print, environ)


def test_a_java_that_is_new_enough_is_taken_from_the_users_home_then_from_path(
    machine: Machine, tmp_path: Path
) -> None:
    put_script(tmp_path / "jdk" / "bin" / "java", "echo openjdk 17.0.15 2025-04-15")
    with_home = machine.environ | {"JAVA_HOME": str(tmp_path / "jdk")}
    assert keycloak.find_java(with_home) == tmp_path / "jdk" / "bin" / "java"
    assert keycloak.find_java(machine.environ) == machine.path / "java"


def test_where_java_is_too_old_the_one_of_a_package_is_asked_for(machine: Machine) -> None:
    machine.put_java("openjdk 11.0.27 2025-04-15")
    only_old = machine.environ | {"PATH": str(machine.path)}
    with pytest.raises(environments.EnvironmentMissing, match=r"environment for java .* run `make binaries`"):
        keycloak.find_java(only_old)
