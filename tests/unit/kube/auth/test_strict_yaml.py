"""YAML of kubeconfigs: what is plain is read, and what is not is refused in a sentence."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kagenti_operator.kube.auth.strict_yaml import parse_yaml


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("", None),
        ("# nothing", None),
        ("a: [b, c]\n", {"a": ["b", "c"]}),
        ("{a: true, b: no, c: null, d: ~, e: }", {"a": True, "b": False, "c": None, "d": None, "e": None}),
        (
            "{a: 12, b: 0x1f, c: 1:30, d: 2026-01-01, e: 1.5, f: '12'}",
            {"a": "12", "b": "0x1f", "c": "1:30", "d": "2026-01-01", "e": "1.5", "f": "12"},
        ),
        ("{yes: a, <<: {b: c}}", {"yes": "a", "<<": {"b": "c"}}),
        ("a: |\n  x\n  y\n", {"a": "x\ny\n"}),
        ('a: "caf\\xe9"', {"a": "café"}),
        ('{"a": ["json", true, null]}', {"a": ["json", True, None]}),
    ],
)
def test_text_booleans_and_null_are_read_and_the_rest_stays_text(text: str, value: Any) -> None:
    assert parse_yaml(text.encode()) == value


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        (b"a: &x 1\nb: *x", "line 2: aliases are not supported"),
        (b"a: 1\nb: {c: 1, c: 2}", "line 2: the key 'c' is there twice"),
        (b"[a]: b", "line 1: a key must be text"),
        (b"a: b: c", "line 1: mapping values are not allowed here"),
        (b"token: secret\n\tx: y", "line 2: .* cannot start any token"),
        (b"a\n---\nb", "line 2: expected a single document"),
        (b"a: !!python/object/apply:os.system [ls]", "the tag .*os.system is not supported"),
        (b"a: !!binary aGk=", "the tag .*binary is not supported"),
        (b"a: \x00", "bytes or escapes that are no characters"),
        (b"a: \xff", "bytes or escapes that are no characters"),
        (b'a: "\\U00110000"', "bytes or escapes that are no characters"),
        (b'a: "\\0"', "line 1: an escape stands for no character"),
        (b'a: "\\ud800"', "line 1: an escape stands for no character"),
        (b"[" * 100_000, "nested too deeply"),
    ],
)
def test_what_is_not_plain_is_refused_in_a_sentence(content: bytes, problem: str) -> None:
    with pytest.raises(ValueError, match=problem) as refusal:
        parse_yaml(content)
    assert "secret" not in str(refusal.value)
    assert "\n" not in str(refusal.value)


def test_a_bomb_of_aliases_does_not_go_off() -> None:
    lines = ["a0: &a0 [x, x]"]
    lines += [f"a{number}: &a{number} [*a{number - 1}, *a{number - 1}]" for number in range(1, 64)]
    with pytest.raises(ValueError, match="aliases are not supported"):
        parse_yaml("\n".join(lines).encode())


@given(st.binary(max_size=60) | st.text(alphabet="ab:-[]{}?!&*#|>'\" \n\t\\u0", max_size=60).map(str.encode))
def test_no_bytes_at_all_raise_anything_else(content: bytes) -> None:
    try:
        parse_yaml(content)
    except ValueError as refusal:
        problem = str(refusal)
    else:
        problem = "none"
    assert problem
    assert "\n" not in problem
