"""The environments of MLflow and the agent: made once, whole, and from lists that hold everywhere."""

import re
import subprocess
import tomllib
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from packaging.requirements import Requirement

from kagenti_devcluster.toolchain import cache, environments
from kagenti_devcluster.toolchain.environments import EnvironmentFailed, EnvironmentMissing

ROOT = Path(__file__).parents[4]
LOCKS = sorted((ROOT / "requirements").glob("*.txt"))


@pytest.fixture
def environ(tmp_path: Path) -> dict[str, str]:
    return {"KAGENTI_CACHE_DIR": str(tmp_path / "cache")}


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A checkout whose environment `small` needs no package, so that it can be made without a network."""
    (tmp_path / "requirements").mkdir()
    (tmp_path / "requirements" / "small.txt").write_text("")
    monkeypatch.setattr(environments, "checkout", lambda: tmp_path)
    return tmp_path


@pytest.mark.parametrize(
    ("name", "target"), [("mlflow-3.14", "envs"), ("agent", "envs"), ("mlflow-3.10", "all-envs")]
)
def test_a_missing_environment_says_how_to_get_it(environ: dict[str, str], name: str, target: str) -> None:
    with pytest.raises(EnvironmentMissing, match=rf"for {name} is not in .*: run `make {target}`$"):
        environments.find(name, environ)


@pytest.mark.usefixtures("project")
def test_an_environment_is_made_once(environ: dict[str, str]) -> None:
    said: list[str] = []
    with ThreadPoolExecutor() as pool:
        makers = [pool.submit(environments.ensure, "small", environ, said.append) for _ in range(3)]
        [python] = {maker.result() for maker in makers}
    assert environments.find("small", environ) == python
    assert len([line for line in said if "packages into" in line]) == 1
    prefix = subprocess.run(
        [python, "-c", "import sys; print(sys.prefix)"], capture_output=True, text=True, check=True
    )
    assert Path(prefix.stdout.strip()) == python.parent.parent


@pytest.mark.usefixtures("project")
def test_an_environment_left_half_made_is_made_anew(environ: dict[str, str]) -> None:
    python = environments.ensure("small", environ)
    folder = python.parent.parent
    (folder / ".complete").unlink()
    (folder / "rubbish").touch()
    with pytest.raises(EnvironmentMissing):
        environments.find("small", environ)
    assert environments.ensure("small", environ) == python
    assert not (folder / "rubbish").exists()


def test_another_lock_file_is_another_environment(project: Path, environ: dict[str, str]) -> None:
    environments.ensure("small", environ)
    (project / "requirements" / "small.txt").write_text("# changed\n")
    with pytest.raises(EnvironmentMissing):
        environments.find("small", environ)


def test_an_environment_that_cannot_be_made_is_not_found(project: Path, environ: dict[str, str]) -> None:
    (project / "requirements" / "small.txt").write_text("structlog==25.4.0\n")
    with pytest.raises(EnvironmentFailed, match="uv pip install"):
        environments.ensure("small", environ)
    with pytest.raises(EnvironmentMissing):
        environments.find("small", environ)


@pytest.mark.usefixtures("project")
def test_an_installed_package_takes_what_is_there(
    environ: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    python = environments.ensure("small", environ)
    monkeypatch.setattr(environments, "checkout", lambda: None)
    assert environments.find("small", environ) == python
    assert environments.ensure("small", environ) == python


def test_the_cluster_has_its_locks() -> None:
    assert cache.checkout() == ROOT
    assert {"run", "dev", "build", "go", "java", "image", "plot", *environments.POD_ENVIRONMENTS} == {
        lock.stem for lock in LOCKS
    }


@pytest.mark.parametrize("lock", LOCKS, ids=lambda lock: lock.stem)
def test_a_lock_names_versions_and_hashes_and_no_place(lock: Path) -> None:
    requirements = re.split(r"\n(?=[a-z0-9])", lock.read_text())
    for requirement in requirements:
        assert re.match(r"[a-z0-9._-]+==\S+", requirement), requirement
        assert "--hash=sha256:" in requirement
    for line in lock.read_text().splitlines():
        assert not re.search(r"://|(^|\s)/|--(extra-)?index-url|--find-links", line), line


def test_the_locks_follow_the_project() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    run_time: list[str] = project["project"]["dependencies"]
    cluster: list[str] = tomllib.loads((ROOT / "devcluster" / "pyproject.toml").read_text())["project"][
        "dependencies"
    ]
    cluster = [requirement for requirement in cluster if requirement != project["project"]["name"]]
    dev: list[str] = project["dependency-groups"]["dev"]
    for lock, wanted in {"run": run_time, "dev": [*run_time, *cluster, *dev]}.items():
        text = (ROOT / "requirements" / f"{lock}.txt").read_text()
        locked = dict(re.findall(r"^([a-z0-9._-]+)==(\S+)", text, re.MULTILINE))
        for requirement in map(Requirement, wanted):
            version = locked.get(requirement.name.lower())
            assert version is not None, f"{requirement} is not in {lock}.txt: run `make lock`"
            assert version in requirement.specifier, f"{lock}.txt has {version}: run `make lock`"
