"""A clean platform for every test of the operator, and namespaces of the test's own."""

import uuid
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import ExitStack

import pytest

from kagenti_operator.kube.client import KubeClient
from tests.integration.conftest import Cluster
from tests.integration.reconcile.platform import FIXED_NAMESPACES, Platform, reset
from tests.integration.reconcile.process import OperatorProcess

type StartOperator = Callable[..., OperatorProcess]


@pytest.fixture
async def platform(admin: KubeClient) -> AsyncIterator[Platform]:
    found = Platform(admin)
    for name in FIXED_NAMESPACES:
        await found.namespace(name)
    await reset(found, found.namespaces)
    yield found
    await reset(found, found.namespaces)


@pytest.fixture
async def team(platform: Platform) -> str:
    name = f"team-{uuid.uuid4().hex[:6]}"
    await platform.namespace(name)
    return name


@pytest.fixture
def start_operator(cluster: Cluster) -> Iterator[StartOperator]:
    """Start the operator as the administrator; it is killed when the test ends."""
    with ExitStack() as running:

        def start(*flags: str, **options: object) -> OperatorProcess:
            process = OperatorProcess(cluster.admin_kubeconfig, *flags, **options)  # pyright: ignore[reportArgumentType]
            return running.enter_context(process)

        yield start
