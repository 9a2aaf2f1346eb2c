"""Selectors as `kubectl get -l` takes them."""

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from kagenti_operator.kube.label_selector import SelectorError, normalize_selector


@pytest.mark.parametrize(
    ("text", "normal"),
    [
        ("openshell.ai/managed-by=openshell", "openshell.ai/managed-by=openshell"),
        (" a == b ", "a=b"),
        ("a!=b", "a!=b"),
        ("a=", "a="),
        ("a=,b", "a=,b"),
        ("a", "a"),
        ("!a", "!a"),
        ("! a", "!a"),
        ("a in (x, y)", "a in (x,y)"),
        ("a in(x)", "a in (x)"),
        ("a notin (x,)", "a notin (x,)"),
        ("a in ()", "a in ()"),
        ("a in (x,x)", "a in (x)"),
        ("in in (in)", "in in (in)"),
        ("a>1, b<-2", "a>1,b<-2"),
        ("a=b,a=b", "a=b"),
        ("a,!b,c in (d),e!=f", "a,!b,c in (d),e!=f"),
        ("A_1.b-2=C", "A_1.b-2=C"),
    ],
)
def test_what_kubernetes_takes_is_taken(text: str, normal: str) -> None:
    assert normalize_selector(text) == normal
    assert normalize_selector(normal) == normal


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("", "a label's name is missing"),
        ("  ", "a label's name is missing"),
        ("a,", "a label's name is missing"),
        (",a", "',' is no label's name"),
        ("=a", "'=' is no label's name"),
        ("!a=b", "',' or the end is expected, not '='"),
        ("a b", "in, notin, < or > is expected after 'a', not 'b'"),
        ("a=b c", "',' or the end is expected, not 'c'"),
        ("a=b=c", "',' or the end is expected, not '='"),
        ("a in b", "'(' is expected, not 'b'"),
        ("a in (b", "',' or ')' is expected, not ''"),
        ("a in (b c)", "',' or ')' is expected, not 'c'"),
        ("a in (=)", "'=' is no label's value"),
        ("a>b", "a whole number is expected after '>', not 'b'"),
        ("a/b/c=d", "'a/b/c' is no label's name"),
        ("/a=b", "'/a' is no label's name"),
        ("Kagenti.io/type=agent", "'Kagenti.io/type' is no label's name"),
        ("-a=b", "'-a' is no label's name"),
        ("a=-b", "'-b' is no label's value"),
        ("a=b/c", "'b/c' is no label's value"),
        ("a=" + "b" * 64, "is no label's value"),
        ("b" * 64, "is no label's name"),
        ("x" * 254 + "/a", "is no label's name"),
    ],
)
def test_what_kubernetes_refuses_is_refused_with_the_place(text: str, problem: str) -> None:
    with pytest.raises(SelectorError) as refused:
        normalize_selector(text)
    assert problem in str(refused.value)


@given(st.text("ab/.-=!<>(), in", max_size=12))
@example("a in (\x00)")
def test_any_text_is_normalized_once_or_refused(text: str) -> None:
    try:
        normal = normalize_selector(text)
    except SelectorError:
        return
    assert normalize_selector(normal) == normal
