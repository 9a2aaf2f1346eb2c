"""What a token says of its own lifetime."""

from typing import Any

import jwt
import pytest

from kagenti_operator.kube.auth.token_claims import read_pod_token_seconds, read_token_seconds

YEAR = 365 * 24 * 3600
POD = {"namespace": "kagenti-system", "pod": {"name": "kagenti-controller-manager-0", "uid": "u"}}


def token(**claims: Any) -> str:
    return jwt.encode(claims, "a key of as many bytes as it takes", algorithm="HS256")


def test_a_pods_token_says_how_long_it_lives() -> None:
    assert read_pod_token_seconds(token(iat=1000, exp=4607, **{"kubernetes.io": POD})) == 3607


def test_any_token_that_has_times_says_how_long_it_lives() -> None:
    assert read_token_seconds(token(iat=1000, exp=4600)) == 3600
    assert read_token_seconds(token(sub="somebody")) is None
    assert read_token_seconds("sha256~opaque") is None


def test_the_api_server_may_give_it_a_year() -> None:
    extended = {**POD, "warnafter": 4607}
    assert read_pod_token_seconds(token(iat=1000, exp=1000 + YEAR, **{"kubernetes.io": extended})) == YEAR


@pytest.mark.parametrize(
    "text",
    [
        token(iat=1000, exp=4600, **{"kubernetes.io": {"namespace": "kagenti-system"}}),
        token(iat=1000, exp=4600),
        token(sub="somebody"),
        "sha256~opaque",
        "a.b.c",
        "a.Ym9keQ.c",
        "",
    ],
    ids=["of no pod", "of no cluster", "no times", "opaque", "no base64", "no JSON", "empty"],
)
def test_other_tokens_say_nothing_of_those_in_pods(text: str) -> None:
    assert read_pod_token_seconds(text) is None
