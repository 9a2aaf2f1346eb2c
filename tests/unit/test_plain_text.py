"""What is shown of texts that tenants and servers wrote."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kagenti_operator.plain_text import excerpt, printable, redact

JWT = "eyJhbGciOiJSUzI1NiIsImtpZCI6IngifQ.eyJzdWIiOiJzeXN0ZW06c2VydmljZWFjY291bnQifQ.c2lnbmF0dXJlLW9mLWl0"
OPAQUE = "sha256~aB3dE5gH7jK9mN1pQ3sT5vW7yZ9bD1fG3hJ5"


@pytest.mark.parametrize("token", [JWT, OPAQUE, f"Bearer {'s3cr3t' * 5}", f"https://x/?token={'s3cr3t' * 5}"])
@given(before=st.integers(0, 120))
def test_no_part_of_a_token_survives_wherever_the_text_is_cut(token: str, before: int) -> None:
    shown = excerpt("x" * before + " " + token + " " + "y" * 200, 100)
    assert not any(token[at : at + 9] in shown for at in range(len("https://x/?token="), len(token) - 9))


def test_a_token_that_somebody_else_cut_is_none_either() -> None:
    for length in range(12, len(JWT)):
        assert redact(f"answer: {JWT[:length]}") == "answer: <redacted>"


@pytest.mark.parametrize(
    "text", ["experiment 'eyJ' of team1", "sha256 of the YAML", "a bearer of news", "token: none", "password"]
)
def test_what_is_no_token_is_shown(text: str) -> None:
    assert excerpt(text, 100) == text


def test_control_characters_cannot_write_over_what_is_beside_them() -> None:
    assert excerpt("a\x1b[2J\x07b\u202ec\r\n  level=error", 100) == "a\\x1b[2J\\x07b\\u202ec level=error"


@given(st.text() | st.binary(), st.integers(10, 50))
def test_a_text_is_printable_and_bounded_whatever_it_was(text: str | bytes, longest: int) -> None:
    shown = excerpt(text, longest)
    assert shown.isprintable()
    assert len(shown.encode()) <= longest


@given(st.text().filter(str.isprintable))
def test_a_printable_text_stays(text: str) -> None:
    assert printable(text) == text
