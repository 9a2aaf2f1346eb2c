"""What subscribers of an informer are told."""

from collections.abc import Callable

import structlog
from hypothesis import given
from hypothesis import strategies as st
from kagenti_operator.runtime.cache.store import Key, key_of

from kagenti_operator.runtime.cache.object_cache import Mirror
from tests.support.widget import Gadget, gadget

type Told = list[tuple[Gadget | None, Gadget | None]]


def listening() -> tuple[Mirror[Gadget], Told]:
    mirror, told = Mirror[Gadget]("gadgets", {}), Told.__value__()
    mirror.subscribe(lambda old, new: told.append((old, new)))
    return mirror, told


def as_list(*objects: Gadget) -> dict[Key, Gadget]:
    return {key_of(obj): obj for obj in objects}


def put(mirror: Mirror[Gadget], obj: Gadget) -> None:
    mirror.put(key_of(obj), obj)


def test_additions_changes_and_deletions_are_told_with_before_and_after() -> None:
    mirror, told = listening()
    first, second = gadget("a", 1), gadget("a", 2)
    put(mirror, first)
    put(mirror, second)
    mirror.remove(key_of(second), "3")
    assert told == [(None, first), (first, second), (second, None)]


def test_the_store_has_changed_before_anybody_is_told() -> None:
    mirror = Mirror[Gadget]("gadgets", {})
    seen: list[tuple[int, Gadget | None]] = []
    mirror.subscribe(lambda _old, _new: seen.append((len(mirror.store), mirror.store.get("team1", "a"))))
    first = gadget("a", 1)
    mirror.replace(as_list(first, gadget("b", 1)))
    mirror.remove(key_of(first), "2")
    assert seen == [(2, first), (2, first), (1, None)]


def test_a_list_tells_only_what_differs() -> None:
    mirror, told = listening()
    kept, changed, deleted = gadget("kept", 1), gadget("changed", 1), gadget("deleted", 1)
    mirror.replace(as_list(kept, changed, deleted))
    told.clear()
    after, added = gadget("changed", 7), gadget("added", 8)
    mirror.replace(as_list(kept, after, added))
    assert told == [(deleted, None), (changed, after), (None, added)]
    assert sorted(mirror.store.values(), key=key_of) == [added, after, kept]


def test_an_object_made_again_under_its_name_was_deleted_first() -> None:
    mirror, told = listening()
    old, new = gadget("a", 1, uid="old"), gadget("a", 9, uid="new")
    mirror.replace(as_list(old))
    told.clear()
    mirror.replace(as_list(new))
    assert told == [(old, None), (None, new)]


def test_older_news_never_replaces_newer() -> None:
    mirror, told = listening()
    newest = gadget("a", 1000)
    put(mirror, newest)
    put(mirror, gadget("a", 999))
    mirror.remove(key_of(newest), "998")
    assert mirror.store.values() == (newest,)
    assert told == [(None, newest)]


def test_a_deletion_of_what_is_unknown_is_not_told() -> None:
    mirror, told = listening()
    mirror.remove(("team1", "a"), "5")
    assert told == []


def test_when_the_api_vanishes_everything_is_deleted() -> None:
    mirror, told = listening()
    presence: list[bool] = []
    mirror.subscribe_presence(lambda: presence.append(mirror.present))
    mirror.vanish()
    assert mirror.synced.is_set()
    first = gadget("a", 1)
    mirror.replace(as_list(first))
    mirror.replace(as_list(first))
    mirror.vanish()
    assert presence == [True, False]
    assert told == [(None, first), (first, None)]
    assert len(mirror.store) == 0


def test_a_subscriber_that_fails_is_logged_and_stops_nobody() -> None:
    mirror = Mirror[Gadget]("gadgets", {})
    told: list[Gadget | None] = []

    def fail(_old: Gadget | None, _new: Gadget | None) -> None:
        raise ZeroDivisionError

    mirror.subscribe(fail)
    mirror.subscribe(lambda _old, new: told.append(new))
    first = gadget("a", 1)
    with structlog.testing.capture_logs() as logs:
        put(mirror, first)
    assert told == [first]
    assert [(line["log_level"], line["informer"], line["exc_info"]) for line in logs] == [
        ("error", "gadgets", True)
    ]


STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("put"), st.sampled_from("abc"), st.sampled_from("xy")),
        st.tuples(st.just("remove"), st.sampled_from("abc"), st.just("")),
        st.tuples(st.just("list"), st.sets(st.sampled_from("abc")).map("".join), st.sampled_from("xy")),
        st.tuples(st.just("vanish"), st.just(""), st.just("")),
    )
)


@given(STEPS)
def test_who_follows_what_is_told_knows_what_is_in_the_store(steps: list[tuple[str, str, str]]) -> None:
    mirror = Mirror[Gadget]("gadgets", {})
    copy: dict[str, Gadget] = {}

    def follow(old: Gadget | None, new: Gadget | None) -> None:
        if old is not None:
            assert copy.pop(old.metadata.name) is old
        if new is not None:
            assert new.metadata.name not in copy
            copy[new.metadata.name] = new

    mirror.subscribe(follow)
    act: dict[str, Callable[[int, str, str], None]] = {
        "put": lambda version, name, uid: put(mirror, gadget(name, version, uid=uid)),
        "remove": lambda version, name, _uid: mirror.remove(("team1", name), str(version)),
        "list": lambda version, names, uid: mirror.replace(
            as_list(*(gadget(name, version, uid=uid) for name in names))
        ),
        "vanish": lambda _version, _name, _uid: mirror.vanish(),
    }
    for version, (step, name, uid) in enumerate(steps):
        act[step](version, name, uid)
        assert copy == {obj.metadata.name: obj for obj in mirror.store.values()}


@given(st.permutations([gadget("a", version) for version in range(1, 6)]))
def test_the_order_of_news_does_not_matter(news: list[Gadget]) -> None:
    mirror = Mirror[Gadget]("gadgets", {})
    for obj in news:
        put(mirror, obj)
    assert mirror.store.values() == (gadget("a", 5),)
