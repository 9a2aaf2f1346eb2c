"""Lists and watch lines, decoded into partial objects."""

import json

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from kagenti_operator.kube.errors import Status
from kagenti_operator.kube.objects.models import KubeObject, KubeStruct
from kagenti_operator.kube.watch import (
    Added,
    Bookmark,
    Deleted,
    LineSplitter,
    Modified,
    Refused,
    Unreadable,
    decode_event,
    decode_page,
)


class WidgetSpec(KubeStruct):
    size: int


class Widget(KubeObject):
    """A kind whose model insists on a field."""

    spec: WidgetSpec


def widget(name: str, size: object = 1, version: str = "5") -> dict[str, object]:
    metadata = {"name": name, "namespace": "team1", "resourceVersion": version, "managedFields": [{"a": 1}]}
    return {"metadata": metadata, "spec": {"size": size, "colour": "red"}, "status": {"x": [1, 2]}}


def line(kind: str, obj: object) -> bytes:
    return json.dumps({"type": kind, "object": obj}).encode()


def test_a_page_carries_objects_version_and_where_to_go_on() -> None:
    metadata = {"resourceVersion": "12", "continue": "abc", "remainingItemCount": 3}
    page = decode_page(Widget, json.dumps({"metadata": metadata, "items": [widget("a", 3)]}).encode())
    assert [(g.metadata.name, g.spec.size) for g in page.items] == [("a", 3)]
    assert (page.resource_version, page.continue_) == ("12", "abc")
    assert page.unreadable == ()


def test_null_items_are_an_empty_page() -> None:
    page = decode_page(Widget, b'{"metadata": {"resourceVersion": "1"}, "items": null}')
    assert list(page.items) == []
    assert page.continue_ == ""


def test_an_object_that_does_not_fit_spoils_only_itself() -> None:
    items = [
        widget("a"),
        widget("b", "large"),
        {"metadata": {"name": "c", "namespace": "team2"}},
        widget("d"),
    ]
    page = decode_page(Widget, json.dumps({"metadata": {"resourceVersion": "9"}, "items": items}).encode())
    assert [g.metadata.name for g in page.items] == ["a", "d"]
    assert [(u.metadata.namespace, u.metadata.name) for u in page.unreadable] == [
        ("team1", "b"),
        ("team2", "c"),
    ]
    assert page.unreadable[0].problem == "Expected `int`, got `str` - at `$.spec.size`"
    assert page.resource_version == "9"


def test_an_object_that_nests_without_end_spoils_nothing() -> None:
    deep = json.dumps(widget("deep")).replace('{"a": 1}', '{"f:a":' * 9990 + "{}" + "}" * 9990)
    body = f'{{"metadata": {{"resourceVersion": "9"}}, "items": [{deep}, {json.dumps(widget("a"))}]}}'
    page = decode_page(Widget, body.encode())
    assert [g.metadata.name for g in page.items] == ["deep", "a"]
    event = decode_event(Widget, f'{{"type": "ADDED", "object": {deep}}}'.encode())
    assert isinstance(event, Added)


def test_what_is_not_a_list_is_refused() -> None:
    with pytest.raises(msgspec.DecodeError):
        decode_page(Widget, b"<html>please log in</html>")


@pytest.mark.parametrize(("kind", "event"), [("ADDED", Added), ("MODIFIED", Modified), ("DELETED", Deleted)])
def test_an_event_is_what_its_type_says(kind: str, event: type[object]) -> None:
    decoded = decode_event(Widget, line(kind, widget("a", 7)))
    assert isinstance(decoded, event)
    assert isinstance(decoded, Added | Modified | Deleted)
    assert decoded.object.spec.size == 7


def test_the_type_may_come_after_the_object() -> None:
    decoded = decode_event(Widget, json.dumps({"object": widget("a"), "type": "DELETED"}).encode())
    assert isinstance(decoded, Deleted)


def test_a_bookmark_needs_nothing_that_the_model_insists_on() -> None:
    empty = {"metadata": {"resourceVersion": "88", "creationTimestamp": None}, "spec": {"size": None}}
    decoded = decode_event(Widget, line("BOOKMARK", empty))
    assert isinstance(decoded, Bookmark)
    assert decoded.object.metadata.resource_version == "88"


def test_an_error_carries_the_servers_status() -> None:
    decoded = decode_event(Widget, line("ERROR", {"kind": "Status", "code": 410, "reason": "Expired"}))
    assert decoded == Refused(Status(code=410, reason="Expired"))


def test_an_event_whose_object_does_not_fit_still_names_it() -> None:
    decoded = decode_event(Widget, line("MODIFIED", widget("a", None, "31")))
    assert isinstance(decoded, Unreadable)
    assert (decoded.metadata.namespace, decoded.metadata.name) == ("team1", "a")
    assert decoded.metadata.resource_version == "31"
    assert "$.object.spec.size" in decoded.problem


def test_half_a_line_is_no_event() -> None:
    with pytest.raises(msgspec.DecodeError):
        decode_event(Widget, line("ADDED", widget("a"))[:-10])


def test_a_line_longer_than_any_buffer_is_put_together() -> None:
    splitter = LineSplitter()
    pieces = [b"x" * 100_000] * 30
    assert all(splitter.feed(piece) == [] for piece in pieces)
    assert splitter.pending
    assert splitter.feed(b"y\nz") == [b"x" * 3_000_000 + b"y"]
    assert splitter.feed(b"\n") == [b"z"]
    assert not splitter.pending


@given(st.lists(st.binary(max_size=20).map(lambda b: b.replace(b"\n", b""))), st.data())
def test_lines_do_not_depend_on_how_the_stream_is_cut(lines: list[bytes], data: st.DataObject) -> None:
    stream = b"".join(line + b"\n" for line in lines)
    splitter, got = LineSplitter(), list[bytes]()
    while stream:
        size = data.draw(st.integers(1, len(stream)))
        got += splitter.feed(stream[:size])
        stream = stream[size:]
    assert got == [line for line in lines if line]
    assert not splitter.pending
