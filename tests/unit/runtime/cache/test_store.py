"""The cache and its indexes."""

from collections import Counter
from collections.abc import Iterable

from hypothesis import given
from hypothesis import strategies as st
from kagenti_operator.runtime.cache.store import Store, key_of

from tests.support.widget import Gadget, gadget

BY_NAMESPACE = "namespace"
BY_DIGIT = "digit"


def namespace_of(obj: Gadget) -> Iterable[str]:
    return (obj.metadata.namespace,)


def digits_of(obj: Gadget) -> Iterable[str]:
    """Several values per object, and sometimes none or the same twice."""
    return "" if obj.size == 0 else str(obj.size)


def make_store() -> Store[Gadget]:
    return Store({BY_NAMESPACE: namespace_of, BY_DIGIT: digits_of})


def put(store: Store[Gadget], obj: Gadget) -> Gadget | None:
    return store.put(key_of(obj), obj)


def test_objects_are_found_by_namespace_and_name() -> None:
    store = make_store()
    first = gadget("a", 1)
    assert put(store, first) is None
    assert store.get("team1", "a") is first
    assert store.get("team2", "a") is None
    second = gadget("a", 2)
    assert put(store, second) is first
    assert store.values() == (second,)
    assert len(store) == 1


def test_an_index_follows_objects_as_they_come_change_and_go() -> None:
    store = make_store()
    put(store, gadget("a", 1, 12))
    put(store, gadget("b", 2, 2, namespace="team2"))
    assert [o.metadata.name for o in store.by_index(BY_DIGIT, "2")] == ["a", "b"]
    assert store.index_size(BY_NAMESPACE, "team1") == 1
    put(store, gadget("a", 3, 3))
    assert [o.metadata.name for o in store.by_index(BY_DIGIT, "2")] == ["b"]
    assert [o.metadata.resource_version for o in store.by_index(BY_DIGIT, "3")] == ["3"]
    store.remove(("team1", "a"))
    assert store.by_index(BY_DIGIT, "3") == ()
    assert store.index_size(BY_NAMESPACE, "team1") == 0


def test_an_index_keeps_nothing_of_values_that_are_gone() -> None:
    store = make_store()
    for number in range(100):
        put(store, gadget("a", number, number, namespace=f"team{number}"))
        store.remove((f"team{number}", "a"))
    assert store.index_values(BY_NAMESPACE) == ()
    assert store.index_values(BY_DIGIT) == ()


def test_removing_what_is_not_there_changes_nothing() -> None:
    store = make_store()
    assert store.remove(("team1", "a")) is None


def test_what_was_read_does_not_change_under_the_reader() -> None:
    store = make_store()
    put(store, gadget("a", 1))
    before = store.by_index(BY_NAMESPACE, "team1")
    put(store, gadget("b", 2))
    store.remove(("team1", "a"))
    assert [o.metadata.name for o in before] == ["a"]


def test_objects_of_a_namespace_share_its_name() -> None:
    first, second = gadget("a", 1), gadget("b", 2)
    assert key_of(first)[0] is key_of(second)[0]
    assert first.metadata.namespace is second.metadata.namespace


CHANGES = st.lists(
    st.tuples(st.sampled_from("ab"), st.sampled_from(["t1", "t2"]), st.one_of(st.none(), st.integers(0, 223)))
)


@given(CHANGES)
def test_an_index_is_always_what_one_built_from_scratch_would_be(
    changes: list[tuple[str, str, int | None]],
) -> None:
    store = make_store()
    for version, (name, namespace, size) in enumerate(changes):
        if size is None:
            store.remove((namespace, name))
        else:
            put(store, gadget(name, version, size, namespace=namespace))
    expected = Counter(digit for obj in store.values() for digit in set(digits_of(obj)))
    assert {value: store.index_size(BY_DIGIT, value) for value in store.index_values(BY_DIGIT)} == expected
    for value in expected:
        found = sorted(store.by_index(BY_DIGIT, value), key=key_of)
        assert found == sorted((o for o in store.values() if value in digits_of(o)), key=key_of)
