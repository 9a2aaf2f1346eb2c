"""A control plane of its own that carries the cluster's platform, and the platform's stand-ins at work.

It is Kagenti's, and people label agents, as the chart's tests take it.
"""

import asyncio
import random
import subprocess
from collections.abc import AsyncIterator, Callable, Generator, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import pytest

from kagenti_devcluster.cluster.controlplane import ControlPlane
from kagenti_devcluster.profiles import DEFAULT
from kagenti_devcluster.standins.platform import Options, StandIns, install
from kagenti_devcluster.testing.platform import SYSTEM, Platform
from kagenti_devcluster.toolchain import binaries
from kagenti_operator.contract import KAGENTI
from kagenti_operator.kube.client import KubeClient
from kagenti_operator.runtime.telemetry.metrics import Metrics
from tests.support.cluster import Cluster

OPTIONS = Options(profile=replace(DEFAULT, names=KAGENTI, agent_runtimes=False))

type Helm = Callable[..., str]


@pytest.fixture(scope="package")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    """Overrides the session's cluster: what is installed here would disturb the tests of the operator."""
    with running_platform(tmp_path_factory.mktemp("platform")) as cluster:
        yield cluster


@contextmanager
def running_platform(
    directory: Path, *, options: Options = OPTIONS, audit: bool = False
) -> Generator[Cluster]:
    """A control plane with the cluster's platform on it."""
    control_plane = ControlPlane(directory / "control-plane", audit=audit)
    try:
        control_plane.start()
        cluster = Cluster(control_plane, directory)
        asyncio.run(_install(cluster, options))
        yield cluster
    finally:
        control_plane.close()


async def _install(cluster: Cluster, options: Options) -> None:
    async with cluster.as_admin() as client:
        await install(client, cluster.admin_kubeconfig, options)


@pytest.fixture
def api(admin: KubeClient) -> Platform:
    """Raw objects in, raw objects out."""
    return Platform(admin)


@pytest.fixture
def options() -> Options:
    """What the platform of the tests looks like."""
    return OPTIONS


@pytest.fixture
async def stand_ins(cluster: Cluster, admin: KubeClient, options: Options) -> AsyncIterator[None]:
    """The stand-ins at work during one test."""
    running = StandIns(admin, cluster.admin_kubeconfig, options, rng=random.Random(7), metrics=Metrics())
    task = asyncio.create_task(running.run())
    yield
    running.stop()
    await task


@pytest.fixture
def helm(cluster: Cluster, tmp_path: Path) -> Iterator[Helm]:
    """`helm("install", chart, "--set", ...)` of the release; the test fails when helm does."""
    environment = {"HOME": str(tmp_path), "KUBECONFIG": str(cluster.admin_kubeconfig)}

    def run(command: str, *arguments: str | Path) -> str:
        call = [binaries.find("helm"), command, "kagenti-operator", "--namespace", SYSTEM, *arguments]
        done = subprocess.run(call, env=environment, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
        return done.stdout

    yield run
    run("uninstall", "--ignore-not-found")
