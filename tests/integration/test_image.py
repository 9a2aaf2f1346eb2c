"""The steps of the Dockerfile, run without a container engine, and the operator run from what they made."""

import asyncio
import json
import os
import re
import shlex
import signal
import subprocess
import sys
from collections.abc import AsyncIterator, Mapping
from pathlib import Path
from urllib.error import URLError
from urllib.parse import urlsplit

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from kagenti_devcluster.testing.platform import Platform, eventually
from kagenti_devcluster.testing.ports import free_port
from kagenti_devcluster.testing.service_account import make_admin, write_folder
from kagenti_operator.kube.client import KubeClient
from tests.integration.image_root import INTERPRETER, USER
from tests.support.cluster import Cluster
from tests.support.scrape import get

PROJECT = Path(__file__).parents[2]
DOCKERFILE = (PROJECT / "Dockerfile").read_text().replace("\\\n", "")
PLACE = "/opt/kagenti-operator"
ACCOUNT_FOLDER = "/var/run/secrets/kubernetes.io/serviceaccount"
MEBIBYTE = 2**20
_IMAGE_ROOT = Path(__file__).with_name("image_root.py")


def instructions(name: str) -> list[str]:
    """The arguments of every such instruction of the Dockerfile."""
    return re.findall(rf"^{name}\s+(.+)$", DOCKERFILE, re.MULTILINE)


class Image:
    """What the build stage made, and how to run it as the Dockerfile says."""

    def __init__(self, folder: Path, root: Path) -> None:
        self.folder = folder
        self._root = root

    def command(
        self, *arguments: str, shown: Mapping[Path, str] | None = None, options: tuple[str, ...] = ()
    ) -> list[str]:
        """The entrypoint with these arguments; `options` are more of the interpreter's own."""
        interpreter, *entrypoint = json.loads(instructions("ENTRYPOINT")[0])
        pairs = [str(part) for pair in ((self.folder, PLACE), *(shown or {}).items()) for part in pair]
        enter = [sys.executable, "-P", str(_IMAGE_ROOT), str(self._root), *pairs]
        return [*enter, "--", interpreter, *options, *entrypoint, *arguments]

    def environment(self, **more: str) -> dict[str, str]:
        """The image's environment, and nothing of this machine's."""
        (line,) = instructions("ENV")
        return dict(part.split("=", 1) for part in shlex.split(line)) | more

    def run(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            self.command(*arguments),
            env=self.environment(),
            capture_output=True,
            text=True,
            check=False,
        )

    def python(self, code: str) -> str:
        """Run code with the image's interpreter and modules; return what it prints."""
        done = subprocess.run(
            self.command(options=("-c", code)),
            env=self.environment(),
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        return done.stdout


@pytest.fixture(scope="module")
def image(tmp_path_factory: pytest.TempPathFactory) -> Image:
    folder = tmp_path_factory.mktemp("image")
    (step,) = instructions("RUN")
    script, target = shlex.split(step)
    assert target == "/out"
    done = subprocess.run(
        [PROJECT / script, folder / "out"],
        env={**os.environ, "PYTHON": os.path.realpath(sys.executable)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    (folder / "root").mkdir()
    return Image(folder / "out", folder / "root")


def test_both_stages_begin_at_a_digest_and_the_last_runs_as_a_number() -> None:
    stages = instructions("FROM")
    assert len(stages) == 2
    for stage in stages:
        assert re.search(r":[\w.-]+@sha256:[0-9a-f]{64}( AS \w+)?$", stage), stage
    assert re.fullmatch(r"[1-9]\d*:[1-9]\d*", instructions("USER")[0])
    assert instructions("USER") == [f"{USER}:{USER}"]
    (copied,) = [line for line in instructions("COPY") if line.startswith("--from")]
    assert copied == f"--from=build /out {PLACE}"


def test_the_builder_pulls_no_frontend_of_its_own_that_nobody_pinned() -> None:
    # As builders know the directive: in the comments that a Dockerfile begins with.
    assert not re.search(r"^\s*#\s*syntax\s*=", DOCKERFILE, re.MULTILINE | re.IGNORECASE)


def test_the_digests_are_renewed_from_the_tags_that_they_are_of() -> None:
    document = (PROJECT / "docs" / "image.md").read_text()
    renewed = re.findall(r"imagetools inspect (\S+)", document)
    assert renewed == [stage.partition("@")[0] for stage in instructions("FROM")]


def test_nothing_starts_through_a_shell() -> None:
    for name in ("ENTRYPOINT", "CMD"):
        for line in instructions(name):
            assert isinstance(json.loads(line), list)
    assert json.loads(instructions("ENTRYPOINT")[0])[0] == INTERPRETER


def test_labels_say_what_it_is() -> None:
    (line,) = instructions("LABEL")
    labels = dict(part.split("=", 1) for part in shlex.split(line))
    assert {"title", "description", "licenses", "version", "revision", "base.name"} == {
        key.removeprefix("org.opencontainers.image.") for key in labels
    }
    assert labels["org.opencontainers.image.base.name"] in instructions("FROM")[-1]


def test_only_what_the_steps_read_goes_to_the_builder() -> None:
    lines = (PROJECT / ".dockerignore").read_text().splitlines()
    assert lines[1] == "*"
    let_in = {line[1:] for line in lines if line.startswith("!")}
    script = (PROJECT / "tools" / "image.sh").read_text()
    assert let_in == {
        *re.findall(r"requirements/\w+\.txt", script),
        "LICENSE",
        "README.md",
        "pyproject.toml",
        "src",
        "tools/image.sh",
    }


def locked() -> set[tuple[str, str]]:
    """Name and version of what run.txt installs here."""
    lines = (PROJECT / "requirements" / "run.txt").read_text().splitlines()
    wanted = [Requirement(line.removesuffix(" \\")) for line in lines if re.match(r"[a-z]", line)]
    return {
        (canonicalize_name(r.name), str(r.specifier).removeprefix("=="))
        for r in wanted
        if r.marker is None or r.marker.evaluate()
    }


def test_the_bill_of_materials_lists_what_is_locked_and_nothing_else(image: Image) -> None:
    bill = json.loads((image.folder / "sbom.cdx.json").read_text())
    assert bill["bomFormat"] == "CycloneDX"
    assert bill["metadata"]["component"]["name"] == "kagenti-operator"
    assert {(canonicalize_name(c["name"]), c["version"]) for c in bill["components"]} == locked()
    assert all(component["purl"] for component in bill["components"])


def test_what_is_installed_is_what_the_bill_says(image: Image) -> None:
    code = "from importlib.metadata import distributions as d; print(*(x.name for x in d()), sep='\\n')"
    found = {canonicalize_name(name) for name in image.python(code).split()}
    assert found == {name for name, _ in locked()} | {"kagenti-operator"}
    assert "pyroute2" not in found


def test_its_license_goes_with_it(image: Image) -> None:
    code = "from importlib.metadata import files; print(*files('kagenti-operator'), sep='\\n')"
    (found,) = [line for line in image.python(code).splitlines() if "/licenses/" in line]
    assert (image.folder / found).read_text() == (PROJECT / "LICENSE").read_text()


def test_it_stays_small(image: Image) -> None:
    size = sum(path.stat().st_size for path in image.folder.rglob("*") if path.is_file())
    # Twice of what it is: a list of dependencies that grew by itself is seen.
    assert size < 70 * MEBIBYTE, f"{size / MEBIBYTE:.0f} MiB"
    assert len(locked()) <= 16, sorted(locked())


def test_bytecode_is_there_for_every_module_and_names_no_folder_of_the_builder(image: Image) -> None:
    modules = set(image.folder.rglob("*.py"))
    compiled = {path.parent.parent / f"{path.name.split('.')[0]}.py" for path in image.folder.rglob("*.pyc")}
    assert modules - compiled == set()
    code = "import kagenti_operator.cli.run as m; print(m.main.__code__.co_filename)"
    assert image.python(code).strip() == f"{PLACE}/kagenti_operator/cli/run.py"


def test_it_runs_without_a_shell_a_writable_root_and_privileges(image: Image) -> None:
    code = """
import os
print(os.getuid(), os.path.exists("/bin/sh"), os.access("/", os.W_OK), os.access("/tmp", os.W_OK))
try:
    open("/opt/kagenti-operator/new", "w")
except OSError as error:
    print(error.strerror)
"""
    assert image.python(code).splitlines() == [f"{USER} False False True", "Read-only file system"]


@pytest.mark.parametrize("arguments", [("--help",), ("run", "--help"), ("check", "--help"), ("--version",)])
def test_it_answers(image: Image, arguments: tuple[str, ...]) -> None:
    done = image.run(*arguments)
    assert done.returncode == 0, done.stderr
    assert done.stdout


def test_it_holds_nothing_of_the_local_cluster(image: Image) -> None:
    found = image.python("import importlib.util as u; print(u.find_spec('kagenti_devcluster'))")
    assert found.strip() == "None"


@pytest.fixture
async def account(cluster: Cluster, admin: KubeClient, namespace: str, tmp_path: Path) -> AsyncIterator[Path]:
    """The folder that a pod finds of its ServiceAccount, which may do everything."""
    platform = Platform(admin)
    binding = await make_admin(platform, namespace, "operator")
    folder = tmp_path / "account"
    await write_folder(platform, cluster.control_plane, folder, namespace, "operator")
    yield folder
    await platform.delete(binding)


async def test_it_runs_as_a_pod_and_imports_only_what_a_pod_needs(
    image: Image, cluster: Cluster, account: Path, namespace: str, tmp_path: Path
) -> None:
    server, probes = urlsplit(cluster.server_url), free_port()
    environment = image.environment(
        KUBERNETES_SERVICE_HOST=str(server.hostname),
        KUBERNETES_SERVICE_PORT=str(server.port),
        POD_NAMESPACE=namespace,
    )
    flags = (f"--health-probe-bind-address=127.0.0.1:{probes}", "--metrics-bind-address=0", "--enable-mlflow")
    log = tmp_path / "log"
    with (
        log.open("w") as output,
        subprocess.Popen(
            image.command("run", *flags, shown={account: ACCOUNT_FOLDER}, options=("-X", "importtime")),
            env=environment,
            stdout=output,
            stderr=output,
        ) as process,
    ):
        try:
            await eventually(lambda: is_ready(probes, process, log), seconds=60)
        finally:
            process.send_signal(signal.SIGTERM)
        assert process.wait(60) == 0, log.read_text()
    imported = {
        line.rpartition("|")[2].strip() for line in log.read_text().splitlines() if "import time" in line
    }
    assert "kagenti_operator.controllers.agents.controller" in imported
    assert not {"kagenti_devcluster", "cryptography"} & imported


async def is_ready(port: int, process: subprocess.Popen[bytes], log: Path) -> None:
    assert process.poll() is None, log.read_text()
    try:
        status, text = await asyncio.to_thread(get, f"http://127.0.0.1:{port}/readyz")
    except URLError as error:
        raise AssertionError(f"{error}\n{log.read_text()}") from error
    assert status == 200, text
