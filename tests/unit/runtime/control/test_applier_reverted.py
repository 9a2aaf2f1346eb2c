"""Another writer reverts what is applied, for hours."""

from collections.abc import Mapping
from contextlib import suppress
from typing import Any, cast

import pytest
from structlog.testing import capture_logs

from kagenti_operator import clock
from kagenti_operator.kube.client import KubeClient
from kagenti_operator.kube.resources import Resource
from kagenti_operator.runtime.control.applier import Applier
from kagenti_operator.runtime.control.write_backoff import FREE, LAST, PAUSE, WritesReverted
from tests.support.virtual_time import skip
from tests.support.widget import WIDGETS, Widget, widget

pytestmark = pytest.mark.virtual_time

HOUR = 3600.0


class Store:
    """An API server with one widget, and when it was written."""

    def __init__(self) -> None:
        self.version = 1
        self.current: Widget | None = widget("w", 1, 1)
        self.writes: list[float] = []
        self.applier = Applier(cast("KubeClient", self))

    async def apply(self, _: Resource[Widget], body: Mapping[str, Any], **__: Any) -> Widget:
        self.writes.append(clock.monotonic())
        if self.current is None or self.current.size != body["size"]:
            self.set(body["size"])
        assert self.current
        return self.current

    async def delete(self, *_: object, **__: object) -> bool:
        self.writes.append(clock.monotonic())
        self.current = None
        return True

    def set(self, size: int | None) -> None:
        """What somebody else does; None deletes it."""
        self.version += 1
        self.current = None if size is None else widget("w", self.version, size)

    async def ensure(self, size: int, *, replaced: Widget | None = None) -> bool:
        body = {"metadata": {"name": "w", "namespace": "team1"}, "size": size}
        current = None if replaced else self.current
        return await self.applier.ensure(WIDGETS, body, current, replaced=replaced)

    async def fight(self, seconds: float, size: int = 2, against: int | None = 1) -> int:
        """Reconcile every second while somebody reverts at once; return how often it was written."""
        before, until = len(self.writes), clock.monotonic() + seconds
        while clock.monotonic() < until:
            with suppress(WritesReverted):
                if await self.ensure(size):
                    self.set(against)
            skip(1)
        return len(self.writes) - before


@pytest.fixture
def store() -> Store:
    return Store()


@pytest.mark.parametrize("against", [1, None], ids=["changed", "deleted"])
async def test_a_write_that_is_always_reverted_slows_down_and_stops(
    store: Store, against: int | None
) -> None:
    assert await store.fight(5, against=against) == FREE
    assert await store.fight(24 * HOUR, against=against) == LAST - FREE
    pauses = [late - early for early, late in zip(store.writes, store.writes[1:], strict=False)][FREE - 1 :]
    assert pauses == sorted(pauses)
    assert pauses[0] >= PAUSE.first


async def test_it_is_logged_when_it_slows_down_and_when_it_stops(store: Store) -> None:
    with capture_logs() as logs:
        await store.fight(24 * HOUR)
    warnings = [line for line in logs if line["log_level"] == "warning"]
    assert [line["stopped"] for line in warnings] == [False, True]
    assert all("changing Widget team1/w (.size)" in line["event"] for line in warnings)


async def test_once_the_object_changes_otherwise_it_is_tried_again(store: Store) -> None:
    await store.fight(HOUR)
    store.set(5)
    assert await store.fight(HOUR) == 1
    # Another thing is wanted: that is no fight yet.
    assert await store.ensure(7)


async def test_once_the_other_writer_gives_in_all_is_as_before(store: Store) -> None:
    await store.fight(HOUR)
    store.set(2)
    assert await store.ensure(2) is False
    store.set(1)
    assert await store.ensure(2) is True


async def test_a_replacement_that_is_reverted_each_time_leaves_the_object_in_place_meanwhile(
    store: Store,
) -> None:
    for _ in range(FREE):
        assert store.current
        await store.ensure(2, replaced=store.current)
        store.set(1)
    with pytest.raises(WritesReverted) as reverted:
        await store.ensure(2, replaced=store.current)
    assert reverted.value.retry_after == PAUSE.first
    assert store.current
    assert len(store.writes) == 2 * FREE


async def test_what_is_made_anew_each_time_that_it_is_deleted_is_left_in_the_end(store: Store) -> None:
    deleted = 0
    for _ in range(LAST + 5):
        if store.current is None:
            store.set(1)
        with suppress(WritesReverted):
            deleted += await store.applier.delete(WIDGETS, store.current)
        skip(HOUR / 6)
    assert deleted == LAST


async def test_a_cache_that_lags_behind_is_no_other_writer(store: Store) -> None:
    stale = store.current
    for _ in range(2 * LAST):
        body = {"metadata": {"name": "w", "namespace": "team1"}, "size": 2}
        assert await store.applier.ensure(WIDGETS, body, stale) is True
