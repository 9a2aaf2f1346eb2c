"""When MLflow counts as gone for good."""

import asyncio
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from typing import Any

import pytest

from kagenti_operator.controllers.mlflow.absence import (
    AGAIN_SECONDS,
    GONE_SECONDS,
    Absence,
    AbsenceReconciler,
)
from kagenti_operator.controllers.mlflow.facts import MLflowFacts
from kagenti_operator.controllers.settings import Settings
from kagenti_operator.kube.errors import ApiError, KubeError
from kagenti_operator.runtime.observable import Observable
from tests.support.peer import Peer, running_peer
from tests.support.virtual_time import skip
from tests.unit.controllers.dependencies import open_dependencies

pytestmark = pytest.mark.virtual_time

CRDS = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions"
MLFLOWS = "/apis/mlflow.opendatahub.io/v1/mlflows"
NONE: dict[str, Any] = {"items": []}


@pytest.fixture
def gone() -> Observable[bool]:
    return Observable(False)


async def test_an_mlflow_without_a_cr_is_gone_after_ten_minutes(gone: Observable[bool]) -> None:
    absence = Absence(gone)
    assert absence.observe(present=True) is None
    assert absence.observe(present=False) == GONE_SECONDS == 600
    skip(GONE_SECONDS - 1)
    assert absence.observe(present=False) == 1
    skip(1)
    assert absence.observe(present=False) == 0
    assert not gone.value
    absence.confirm()
    assert absence.observe(present=False) is None
    assert gone.value
    absence.observe(present=True)
    assert not gone.value


async def test_one_that_comes_in_between_begins_the_ten_minutes_anew(gone: Observable[bool]) -> None:
    absence = Absence(gone)
    for _ in range(10):
        absence.observe(present=False)
        skip(GONE_SECONDS - 1)
        absence.observe(present=True)
    assert absence.observe(present=False) == GONE_SECONDS


async def test_an_operator_that_is_started_meanwhile_waits_and_not_for_ever(gone: Observable[bool]) -> None:
    Absence(Observable(False)).observe(present=False)
    skip(GONE_SECONDS - 1)
    restarted = Absence(gone)
    assert restarted.observe(present=False) == GONE_SECONDS
    skip(GONE_SECONDS)
    assert restarted.observe(present=False) == 0


@asynccontextmanager
async def looking_for_the_cr(
    gone: Observable[bool],
) -> AsyncGenerator[tuple[Peer, asyncio.Future[float | None]]]:
    """The cache has had no CR for ten minutes, and the API server is asked."""
    async with running_peer() as peer, open_dependencies(Settings(), peer.url) as dependencies:
        reconciler = AbsenceReconciler(
            dependencies.client, MLflowFacts(dependencies.informers), Absence(gone)
        )
        assert await reconciler.reconcile() == GONE_SECONDS
        skip(GONE_SECONDS)
        yield peer, asyncio.ensure_future(reconciler.reconcile())


@pytest.mark.parametrize(
    ("answers", "expected", "is_gone"),
    [
        pytest.param([(MLFLOWS, 200, NONE)], None, True, id="there is none"),
        pytest.param([(MLFLOWS, 200, {"items": [{"metadata": {"name": "mlflow"}}]})], AGAIN_SECONDS, False),
        pytest.param([(MLFLOWS, 404, NONE), (CRDS, 200, NONE)], None, True, id="nor its API"),
    ],
)
async def test_before_it_counts_as_gone_the_api_server_is_asked(
    answers: list[tuple[str, int, Any]], expected: float | None, is_gone: bool, gone: Observable[bool]
) -> None:
    async with looking_for_the_cr(gone) as (peer, looking):
        for path, status, body in answers:
            request = await peer.request()
            assert request.path == path
            await request.answer(status, {"metadata": {"resourceVersion": "1"}, **body})
        assert await looking == expected
        assert gone.value == is_gone


async def test_an_api_that_is_defined_and_not_served_says_nothing(gone: Observable[bool]) -> None:
    """One of several API servers may not know it yet."""
    async with looking_for_the_cr(gone) as (peer, looking):
        await (await peer.request()).answer(404, b"404 page not found")
        defined = {"metadata": {"name": "mlflows.mlflow.opendatahub.io"}}
        await (await peer.request()).answer(200, {"metadata": {}, "items": [defined]})
        with pytest.raises(ApiError, match="404"):
            await looking
        assert not gone.value


async def test_a_cr_that_cannot_be_read_is_there(gone: Observable[bool]) -> None:
    async with looking_for_the_cr(gone) as (peer, looking):
        unreadable = {"metadata": {"name": "mlflow"}, "status": 7}
        await (await peer.request()).answer(200, {"metadata": {}, "items": [unreadable]})
        with pytest.raises(KubeError, match="MLflow mlflow cannot be read"):
            await looking
        assert not gone.value
