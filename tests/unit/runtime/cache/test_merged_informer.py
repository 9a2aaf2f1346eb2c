"""Two selections of one kind, seen as one: by the sequences in which their watches may report a change."""

import random
from collections.abc import Iterable
from dataclasses import replace

import pytest

from kagenti_operator.kube.auth.credentials import Connection
from kagenti_operator.kube.client import KubeClient
from kagenti_operator.runtime.cache.merged_informer import MOVE_SECONDS, MergedInformer
from kagenti_operator.runtime.cache.object_cache import Added, Event, Removed, Selection, Updated, key_of
from kagenti_operator.runtime.cache.shared_informers import SharedInformers
from tests.support.virtual_time import advance, timers
from tests.support.widget import WIDGETS, Widget, widget

pytestmark = pytest.mark.virtual_time


def sizes(obj: Widget) -> Iterable[str]:
    return (str(obj.size),)


class Bench:
    """The widgets labelled a=1 and those labelled b=1, and the events of both as one."""

    def __init__(self) -> None:
        self.informers = SharedInformers(KubeClient(Connection("http://nobody.example")), random.Random(1))
        one = Selection(resource=WIDGETS, label_selector="a=1", indexes=(("size", sizes),))
        self.selections = (one, replace(one, label_selector="b=1"))
        self.a, self.b = (self.informers.get(selection) for selection in self.selections)
        merged = self.informers.get_any(self.selections)
        assert isinstance(merged, MergedInformer)
        self.merged = merged
        self.events: list[str] = []
        merged.subscribe(self._note)

    def _note(self, event: Event[Widget]) -> None:
        match event:
            case Added(obj):
                self.events.append(f"+{obj.metadata.name}{obj.metadata.resource_version}")
            case Updated(_, obj):
                self.events.append(f"~{obj.metadata.name}{obj.metadata.resource_version}")
            case Removed(obj):
                self.events.append(f"-{obj.metadata.name}{obj.metadata.resource_version}")


@pytest.fixture
def bench() -> Bench:
    return Bench()


W = ("team1", "w")


async def test_what_both_select_is_one_object_and_one_event(bench: Bench) -> None:
    first = widget("w", 1)
    bench.a.cache.put(W, first)
    bench.b.cache.put(W, widget("w", 1))
    bench.b.cache.put(("team1", "v"), widget("v", 2))
    assert [obj.metadata.name for obj in bench.merged.cache.values()] == ["w", "v"]
    bench.a.cache.put(W, widget("w", 3, 5))
    bench.b.cache.put(W, widget("w", 3, 5))
    assert bench.events == ["+w1", "+v2", "~w3"]


async def test_what_leaves_one_selection_and_stays_in_the_other_is_not_removed(bench: Bench) -> None:
    for informer in (bench.a, bench.b):
        informer.cache.put(W, widget("w", 1))
    bench.a.cache.remove(W, "2")
    bench.b.cache.put(W, widget("w", 2, 5))
    await advance(10 * MOVE_SECONDS)
    assert bench.events[-1] == "~w2"
    assert bench.merged.cache.by_index("size", "5") == (bench.b.cache.get(*W),)
    # The other way round: the one that it stays in reports first.
    bench.a.cache.put(W, widget("w", 3))
    bench.b.cache.put(W, widget("w", 3))
    bench.a.cache.put(W, widget("w", 4))
    bench.b.cache.remove(W, "4")
    await advance(10 * MOVE_SECONDS)
    assert bench.merged.cache.get(*W) is bench.a.cache.get(*W)
    assert not [event for event in bench.events if event.startswith("-")]


async def test_what_moves_from_one_selection_to_the_other_is_not_removed(bench: Bench) -> None:
    bench.a.cache.put(W, widget("w", 1))
    bench.a.cache.remove(W, "2")
    await advance(MOVE_SECONDS / 2)
    assert bench.merged.cache.get(*W)
    bench.b.cache.put(W, widget("w", 2))
    await advance(10 * MOVE_SECONDS)
    assert bench.events == ["+w1", "~w2"]
    assert timers() == 0


async def test_what_left_both_is_removed_once_whatever_copy_is_the_newest(bench: Bench) -> None:
    bench.a.cache.put(W, widget("w", 1))
    bench.b.cache.put(W, widget("w", 6))
    bench.b.cache.remove(W, "7")
    bench.a.cache.remove(W, "7")
    await advance(2 * MOVE_SECONDS)
    assert bench.events == ["+w1", "~w6", "-w6"]
    assert bench.merged.cache.by_index("size", "6") == ()


async def test_what_is_deleted_and_made_again_is_another_object(bench: Bench) -> None:
    bench.a.cache.put(W, widget("w", 1, uid="one"))
    bench.a.cache.remove(W, "2")
    bench.b.cache.put(W, widget("w", 3, uid="two"))
    assert bench.events == ["+w1", "-w1", "+w3"]
    bench.b.cache.replace({W: widget("w", 5, uid="three")})
    assert bench.events[3:] == ["-w3", "+w5"]


async def test_a_list_after_a_gap_counts_as_its_changes_do(bench: Bench) -> None:
    bench.a.cache.put(W, widget("w", 1))
    bench.a.cache.put(("team1", "v"), widget("v", 1))
    bench.b.cache.put(W, widget("w", 1))
    bench.a.cache.replace({})
    await advance(2 * MOVE_SECONDS)
    assert [key_of(obj) for obj in bench.merged.cache.values()] == [W]


async def test_the_api_is_served_as_long_as_any_sees_it(bench: Bench) -> None:
    assert not bench.merged.cache.served.value
    bench.a.cache.replace({})
    assert bench.merged.cache.served.value
    bench.b.cache.clear()
    assert bench.merged.cache.served.value
    bench.a.cache.clear()
    assert not bench.merged.cache.served.value


def test_one_selection_is_followed_by_itself_and_several_are_shared(bench: Bench) -> None:
    first, second = bench.selections
    assert bench.informers.get_any([first, first]) is bench.a
    assert bench.informers.get_any([first, second]) is bench.merged
    assert bench.informers.all() == (bench.a, bench.b)
    assert bench.merged.name == "widgets.example.com a=1 or b=1"
