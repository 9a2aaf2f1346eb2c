import pytest
from hypothesis import given
from hypothesis import strategies as st

from kagenti_operator.kube.quantity import parse_bytes


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("128Mi", 128 * 2**20),
        ("1Gi", 2**30),
        ("0.5Gi", 2**29),
        (".5Gi", 2**29),
        ("1G", 10**9),
        ("400k", 400_000),
        ("64Ki", 65_536),
        ("1e9", 10**9),
        ("1E3", 1000),
        ("1E", 10**18),
        ("134217728", 134_217_728),
        ("128974848000m", 128_974_848),
    ],
)
def test_quantities_are_read_as_kubernetes_reads_them(text: str, expected: int) -> None:
    assert parse_bytes(text) == expected


@pytest.mark.parametrize(
    "text", ["", "0", "much", "-1Gi", "1gi", "1 Gi", "Mi", "1e999", "1" * 30, "NaN", "100m"]
)
def test_what_is_no_amount_of_memory_is_none(text: str) -> None:
    assert parse_bytes(text) is None


@given(st.text())
def test_reading_never_fails(text: str) -> None:
    assert (parse_bytes(text) or 1) > 0
