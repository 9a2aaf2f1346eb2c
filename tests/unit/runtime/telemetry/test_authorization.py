"""What the authorizer remembers, and for how long; what it asks for is tested on a real API server."""

from typing import Any

import msgspec
import pytest

from kagenti_operator.kube.errors import Unreachable
from kagenti_operator.runtime.telemetry.authorization import (
    ACCESS_REVIEWS,
    TokenAuthorizer,
    Verdict,
    bearer_token,
)
from tests.support.virtual_time import advance

pytestmark = pytest.mark.virtual_time


class Answers:
    """Tokens that are known, and who of them may read."""

    def __init__(self) -> None:
        self.users = {"prometheus": "scraper", "curious": "somebody"}
        self.readers = {"scraper"}
        self.asked: list[str] = []
        self.away = False

    async def ask[T](self, method: str, path: str, model: type[T], *, body: Any = None) -> T:
        return msgspec.convert(self._answer(method, path, body), model)

    def _answer(self, method: str, path: str, body: Any) -> dict[str, Any]:
        assert method == "POST"
        if self.away:
            raise Unreachable("no answer")
        self.asked.append(path)
        spec: dict[str, Any] = body["spec"]
        if path == ACCESS_REVIEWS:
            return {"status": {"allowed": spec["user"] in self.readers}}
        user = self.users.get(spec["token"])
        status = {"authenticated": True, "user": {"username": user}} if user else {"error": "unknown"}
        return {"status": status}


@pytest.fixture
def answers() -> Answers:
    return Answers()


@pytest.fixture
def authorizer(answers: Answers) -> TokenAuthorizer:
    return TokenAuthorizer(answers)


async def judge(authorizer: TokenAuthorizer, token: str) -> Verdict:
    return await authorizer.judge(token, "get", "/metrics")


async def test_a_scraper_is_asked_about_once_a_minute(authorizer: TokenAuthorizer, answers: Answers) -> None:
    for _ in range(5):
        assert await judge(authorizer, "prometheus") is Verdict.ALLOWED
    assert len(answers.asked) == 2
    answers.readers.clear()
    await advance(61)
    assert await judge(authorizer, "prometheus") is Verdict.REFUSED


async def test_a_refusal_is_forgotten_soon(authorizer: TokenAuthorizer, answers: Answers) -> None:
    assert await judge(authorizer, "curious") is Verdict.REFUSED
    assert await judge(authorizer, "nonsense") is Verdict.UNAUTHENTICATED
    answers.readers.add("somebody")
    assert await judge(authorizer, "curious") is Verdict.REFUSED
    await advance(11)
    assert await judge(authorizer, "curious") is Verdict.ALLOWED


async def test_an_answer_is_for_one_path_and_verb(authorizer: TokenAuthorizer, answers: Answers) -> None:
    await judge(authorizer, "prometheus")
    answers.readers.clear()
    assert await authorizer.judge("prometheus", "get", "/other") is Verdict.REFUSED
    assert await authorizer.judge("prometheus", "head", "/metrics") is Verdict.REFUSED


async def test_strangers_do_not_push_memory_up_but_the_oldest_out(
    authorizer: TokenAuthorizer, answers: Answers
) -> None:
    await judge(authorizer, "prometheus")
    for number in range(255):
        await judge(authorizer, f"stranger {number}")
    asked = len(answers.asked)
    await judge(authorizer, "prometheus")
    assert len(answers.asked) == asked
    await judge(authorizer, "one more stranger")
    await judge(authorizer, "prometheus")
    assert len(answers.asked) == asked + 3


async def test_not_knowing_is_not_remembered(authorizer: TokenAuthorizer, answers: Answers) -> None:
    answers.away = True
    with pytest.raises(Unreachable):
        await judge(authorizer, "prometheus")
    answers.away = False
    assert await judge(authorizer, "prometheus") is Verdict.ALLOWED


@pytest.mark.parametrize(
    ("header", "token"),
    [
        ("Bearer abc", "abc"),
        ("bearer  abc ", "abc"),
        ("", None),
        ("Bearer", None),
        ("Bearer ", None),
        ("Basic abc", None),
        ("abc", None),
    ],
)
def test_the_token_is_read_from_its_header(header: str, token: str | None) -> None:
    assert bearer_token(header) == token
