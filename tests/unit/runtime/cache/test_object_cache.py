"""The cache, its indexes, and the events of its changes."""

from collections import Counter
from collections.abc import Callable, Iterable

import structlog
from hypothesis import given
from hypothesis import strategies as st

from kagenti_operator.runtime.cache.object_cache import (
    Added,
    Event,
    ObjectCache,
    ObjectKey,
    Removed,
    Selection,
    Updated,
    key_of,
)
from tests.support.widget import WIDGETS, Widget, widget

BY_NAMESPACE = "namespace"
BY_DIGIT = "digit"


def namespace_of(obj: Widget) -> Iterable[str]:
    return (obj.metadata.namespace,)


def digits_of(obj: Widget) -> Iterable[str]:
    """Several values per object, and sometimes none or the same twice."""
    return "" if obj.size == 0 else str(obj.size)


INDEXED = Selection(resource=WIDGETS, indexes=((BY_NAMESPACE, namespace_of), (BY_DIGIT, digits_of)))


def make_cache() -> tuple[ObjectCache[Widget], list[Event[Widget]]]:
    cache, events = ObjectCache(INDEXED), list[Event[Widget]]()
    cache.subscribe(events.append)
    return cache, events


def put(cache: ObjectCache[Widget], obj: Widget) -> Widget:
    cache.put(key_of(obj), obj)
    return obj


def as_list(*objects: Widget) -> dict[ObjectKey, Widget]:
    return {key_of(obj): obj for obj in objects}


def names(objects: Iterable[Widget]) -> list[str]:
    return [obj.metadata.name for obj in objects]


def test_objects_are_found_by_namespace_and_name() -> None:
    cache, _ = make_cache()
    first = put(cache, widget("a", 1))
    assert cache.get("team1", "a") is first
    assert cache.get("team2", "a") is None
    second = put(cache, widget("a", 2))
    assert cache.values() == (second,)
    assert len(cache) == 1


def test_an_index_follows_objects_as_they_come_change_and_go() -> None:
    cache, _ = make_cache()
    put(cache, widget("a", 1, 12))
    put(cache, widget("b", 2, 2, namespace="team2"))
    assert names(cache.by_index(BY_DIGIT, "2")) == ["a", "b"]
    assert cache.count("team1") == 1
    last = put(cache, widget("a", 3, 3))
    assert names(cache.by_index(BY_DIGIT, "2")) == ["b"]
    assert cache.by_index(BY_DIGIT, "3") == (last,)
    cache.remove(("team1", "a"), "4")
    assert cache.by_index(BY_DIGIT, "3") == ()
    assert cache.count("team1") == 0


def test_an_index_keeps_nothing_of_values_that_are_gone() -> None:
    cache, _ = make_cache()
    for number in range(100):
        put(cache, widget("a", number, number, namespace=f"team{number}"))
        cache.remove((f"team{number}", "a"), str(number))
    assert cache.namespaces() == ()
    assert cache.by_index(BY_DIGIT, "9") == ()


def test_what_was_read_does_not_change_under_the_reader() -> None:
    cache, _ = make_cache()
    put(cache, widget("a", 1))
    before = cache.by_index(BY_NAMESPACE, "team1")
    put(cache, widget("b", 2))
    cache.remove(("team1", "a"), "3")
    assert names(before) == ["a"]


def test_objects_of_a_namespace_share_its_name() -> None:
    first, second = widget("a", 1), widget("b", 2)
    assert key_of(first)[0] is key_of(second)[0]
    assert first.metadata.namespace is second.metadata.namespace


CHANGES = st.lists(
    st.tuples(st.sampled_from("ab"), st.sampled_from(["t1", "t2"]), st.one_of(st.none(), st.integers(0, 223)))
)


@given(CHANGES)
def test_an_index_is_always_what_one_built_from_scratch_would_be(
    changes: list[tuple[str, str, int | None]],
) -> None:
    cache, _ = make_cache()
    for version, (name, namespace, size) in enumerate(changes):
        if size is None:
            cache.remove((namespace, name), str(version))
        else:
            put(cache, widget(name, version, size, namespace=namespace))
    expected = Counter(digit for obj in cache.values() for digit in set(digits_of(obj)))
    for value in "0123456789":
        assert len(cache.by_index(BY_DIGIT, value)) == expected[value]
        found = sorted(cache.by_index(BY_DIGIT, value), key=key_of)
        assert found == sorted((o for o in cache.values() if value in digits_of(o)), key=key_of)


def test_additions_changes_and_deletions_are_events_with_before_and_after() -> None:
    cache, events = make_cache()
    first, second = put(cache, widget("a", 1)), put(cache, widget("a", 2))
    cache.remove(key_of(second), "3")
    assert events == [Added(first), Updated(first, second), Removed(second)]


def test_the_cache_has_changed_before_the_event() -> None:
    cache, _ = make_cache()
    seen: list[tuple[int, Widget | None]] = []
    cache.subscribe(lambda _: seen.append((len(cache), cache.get("team1", "a"))))
    first = widget("a", 1)
    cache.replace(as_list(first, widget("b", 1)))
    cache.remove(key_of(first), "2")
    assert seen == [(2, first), (2, first), (1, None)]


def test_a_list_makes_events_only_of_what_differs() -> None:
    cache, events = make_cache()
    kept, changed, deleted = widget("kept", 1), widget("changed", 1), widget("deleted", 1)
    cache.replace(as_list(kept, changed, deleted))
    events.clear()
    after, added = widget("changed", 7), widget("added", 8)
    cache.replace(as_list(kept, after, added))
    assert events == [Removed(deleted), Updated(changed, after), Added(added)]
    assert sorted(cache.values(), key=key_of) == [added, after, kept]


def test_an_object_made_again_under_its_name_was_deleted_first() -> None:
    cache, events = make_cache()
    old, new = widget("a", 1, uid="old"), widget("a", 9, uid="new")
    cache.replace(as_list(old))
    cache.replace(as_list(new))
    assert events == [Added(old), Removed(old), Added(new)]


def test_an_older_state_never_replaces_a_newer_one() -> None:
    cache, events = make_cache()
    newest = put(cache, widget("a", 1000))
    put(cache, widget("a", 999))
    cache.remove(key_of(newest), "998")
    assert cache.values() == (newest,)
    assert events == [Added(newest)]


def test_a_deletion_of_what_is_unknown_is_no_event() -> None:
    cache, events = make_cache()
    cache.remove(("team1", "a"), "5")
    assert events == []


def test_a_cache_is_complete_after_the_first_list_or_once_its_api_is_known_to_be_absent() -> None:
    listed, _ = make_cache()
    put(listed, widget("a", 1))
    assert not listed.synced.is_set()
    listed.replace({})
    absent, _ = make_cache()
    absent.clear()
    assert (listed.synced.is_set(), listed.served.value) == (True, True)
    assert (absent.synced.is_set(), absent.served.value) == (True, False)


def test_when_the_api_vanishes_everything_is_deleted() -> None:
    cache, events = make_cache()
    served: list[bool] = []
    cache.served.subscribe(lambda: served.append(cache.served.value))
    cache.clear()
    first = widget("a", 1)
    cache.replace(as_list(first))
    cache.replace(as_list(first))
    cache.clear()
    assert served == [True, False]
    assert events == [Added(first), Removed(first)]
    assert len(cache) == 0


def test_a_handler_that_fails_is_logged_and_stops_no_other() -> None:
    cache = ObjectCache(INDEXED)
    events: list[Event[Widget]] = []

    def fail(_: Event[Widget]) -> None:
        raise ZeroDivisionError

    cache.subscribe(fail)
    cache.subscribe(events.append)
    with structlog.testing.capture_logs() as logs:
        first = put(cache, widget("a", 1))
    assert events == [Added(first)]
    assert [(line["log_level"], line["informer"], line["exc_info"]) for line in logs] == [
        ("error", "widgets.example.com", True)
    ]


def test_a_selection_is_named_by_what_it_selects() -> None:
    selection = Selection(resource=WIDGETS, namespace="team1", label_selector="a=b", name="x")
    assert str(selection) == "widgets.example.com team1 a=b metadata.name=x"
    assert str(INDEXED) == "widgets.example.com"
    both = Selection(resource=WIDGETS, name="x", field_selector="spec.nodeName=n")
    assert both.fields == "metadata.name=x,spec.nodeName=n"


STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("put"), st.sampled_from("abc"), st.sampled_from("xy")),
        st.tuples(st.just("remove"), st.sampled_from("abc"), st.just("")),
        st.tuples(st.just("list"), st.sets(st.sampled_from("abc")).map("".join), st.sampled_from("xy")),
        st.tuples(st.just("clear"), st.just(""), st.just("")),
    )
)


@given(STEPS)
def test_who_follows_the_events_knows_what_is_in_the_cache(steps: list[tuple[str, str, str]]) -> None:
    cache = ObjectCache(INDEXED)
    copy: dict[str, Widget] = {}

    def follow(event: Event[Widget]) -> None:
        name = event.object.metadata.name
        match event:
            case Added(obj):
                assert name not in copy
                copy[name] = obj
            case Updated(old, obj):
                assert copy[name] is old
                copy[name] = obj
            case Removed(obj):
                assert copy.pop(name) is obj

    cache.subscribe(follow)
    act: dict[str, Callable[[int, str, str], object]] = {
        "put": lambda version, name, uid: put(cache, widget(name, version, uid=uid)),
        "remove": lambda version, name, _uid: cache.remove(("team1", name), str(version)),
        "list": lambda version, names, uid: cache.replace(
            as_list(*(widget(name, version, uid=uid) for name in names))
        ),
        "clear": lambda _version, _name, _uid: cache.clear(),
    }
    for version, (step, name, uid) in enumerate(steps):
        act[step](version, name, uid)
        assert copy == {obj.metadata.name: obj for obj in cache.values()}


@given(st.permutations([widget("a", version) for version in range(1, 6)]))
def test_the_order_of_changes_does_not_matter(changes: list[Widget]) -> None:
    cache, _ = make_cache()
    for obj in changes:
        put(cache, obj)
    assert cache.values() == (widget("a", 5),)


def test_packed_objects_are_found_change_and_go_as_others_do() -> None:
    cache = ObjectCache(Selection(resource=WIDGETS, packed=True))
    events = list[Event[Widget]]()
    cache.subscribe(events.append)
    put(cache, widget("a", 1, 12))
    put(cache, widget("b", 2, 3, namespace="team2"))
    put(cache, widget("a", 3, 4))
    found = cache.get("team1", "a")
    assert found is not None
    assert (found.metadata.name, found.metadata.resource_version, found.size) == ("a", "3", 4)
    assert names(cache) == ["a", "b"]
    assert names(cache.of_namespace("team2")) == ["b"]
    listed = cache.empty_store()
    cache.keep(("team1", "a"), listed)
    listed.put(("team3", "c"), widget("c", 4, namespace="team3"))
    cache.adopt(listed)
    assert sorted(cache.namespaces()) == ["team1", "team3"]
    assert len(cache) == 2
    cache.clear()
    assert [type(event).__name__ for event in events] == [
        *("Added", "Added", "Updated"),
        *("Removed", "Added"),
        *("Removed", "Removed"),
    ]
