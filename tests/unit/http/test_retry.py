"""What a server says about when to try again."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kagenti_operator.http.retry import parse_retry_after

NOW = "Mon, 05 Jan 2026 10:00:00 GMT"


@pytest.mark.parametrize(
    ("headers", "seconds"),
    [
        ({}, None),
        ({"Retry-After": "7"}, 7.0),
        ({"Retry-After": " 0 "}, 0.0),
        ({"Retry-After": "-7"}, None),
        ({"Retry-After": "soon"}, None),
        ({"Retry-After": "²"}, None),
        ({"Retry-After": "Mon, 05 Jan 2026 10:00:30 GMT", "Date": NOW}, 30.0),
        ({"Retry-After": "Mon, 05 Jan 2026 09:59:30 GMT", "Date": NOW}, 0.0),
        ({"Retry-After": "Mon, 05 Jan 2026 10:00:30 GMT"}, None),
        ({"Retry-After": "Mon, 05 Jan 2026 10:00:30 GMT", "Date": "today"}, None),
        ({"Retry-After": "Mon, 05 Jan 2026 10:00:30 -0000", "Date": NOW}, None),
    ],
)
def test_retry_after_is_seconds_or_a_date(headers: dict[str, str], seconds: float | None) -> None:
    assert parse_retry_after(headers) == seconds


@given(st.text(), st.text())
def test_any_header_can_be_read(retry_after: str, date: str) -> None:
    seconds = parse_retry_after({"Retry-After": retry_after, "Date": date})
    assert seconds is None or seconds >= 0
