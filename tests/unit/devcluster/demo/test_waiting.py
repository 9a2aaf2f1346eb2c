"""Waiting, with a deadline and with words."""

import pytest

from kagenti_devcluster.demo.waiting import NotYet, Overdue, until


async def test_waiting_ends_with_what_the_probe_finds():
    reported: list[str] = []
    answers = iter([NotYet("still closed"), "open"])

    async def probe() -> str:
        answer = next(answers)
        if isinstance(answer, NotYet):
            raise answer
        return answer

    assert await until("the door", probe, seconds=60, note=reported.append) == "open"
    assert reported == ["the door … 0 s (still closed)"]


async def test_waiting_in_vain_says_for_what_and_what_was_there():
    async def probe() -> None:
        raise NotYet("still closed")

    with pytest.raises(Overdue, match=r"the door: not within 0 s; still closed"):
        await until("the door", probe, seconds=0, note=lambda _: None)
