import asyncio
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager

import aiohttp
import pytest

from kagenti_operator.runtime.telemetry.health import Health
from kagenti_operator.runtime.telemetry.listener import (
    BadAddressError,
    BindAddress,
    Listener,
    parse_bind_address,
)


@asynccontextmanager
async def serving(health: Health, host: str = "127.0.0.1") -> AsyncGenerator[str]:
    listener = Listener("probes", health.build_app(), BindAddress(host, 0))
    task = asyncio.create_task(listener.run())
    try:
        await listener.ready.wait()
        yield f"http://{BindAddress(host, listener.port)}"
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


async def ask(url: str) -> tuple[int, str]:
    async with aiohttp.ClientSession() as session, session.get(url) as response:
        return response.status, await response.text()


async def test_a_process_that_answers_is_alive() -> None:
    async with serving(Health()) as url:
        assert await ask(f"{url}/healthz") == (200, "ok")
        assert await ask(f"{url}/readyz") == (200, "ok")


async def test_a_failed_check_is_reported_with_its_reason() -> None:
    health = Health()
    health.alive["tasks"] = lambda: "ended: informer pods"
    async with serving(health) as url:
        status, text = await ask(f"{url}/healthz")
        assert status == 500
        assert text == "[+]ping ok\n[-]tasks failed: ended: informer pods\nhealthz check failed\n"
        assert (await ask(f"{url}/readyz"))[0] == 200


async def test_details_are_told_on_request_only() -> None:
    health = Health()
    health.details["informers"] = lambda: "pods: heard 3 s ago\nservices: not heard yet\n"
    async with serving(health) as url:
        assert await ask(f"{url}/readyz") == (200, "ok")
        assert (await ask(f"{url}/readyz?verbose"))[1] == (
            "readyz check passed\npods: heard 3 s ago\nservices: not heard yet\n"
        )
        assert "pods" not in (await ask(f"{url}/healthz?verbose"))[1]


async def test_checks_are_listed_on_request_and_can_be_asked_alone() -> None:
    health = Health()
    health.ready["informers"] = lambda: "not listed yet: pods"
    health.ready["other"] = lambda: None
    async with serving(health) as url:
        assert await ask(f"{url}/healthz?verbose") == (200, "[+]ping ok\nhealthz check passed\n")
        assert await ask(f"{url}/readyz/other") == (200, "ok")
        assert (await ask(f"{url}/readyz/informers"))[0] == 500
        assert (await ask(f"{url}/readyz/nonsense"))[0] == 404


async def test_it_follows_the_checks() -> None:
    health, problems = Health(), ["not listed yet: pods"]
    health.ready["informers"] = lambda: problems[0] if problems else None
    async with serving(health) as url:
        assert (await ask(f"{url}/readyz"))[0] == 500
        problems.clear()
        assert (await ask(f"{url}/readyz"))[0] == 200


async def test_it_listens_on_ipv6() -> None:
    async with serving(Health(), "::1") as url:
        assert url.startswith("http://[::1]:")
        assert (await ask(f"{url}/healthz"))[0] == 200


async def test_an_address_that_is_taken_is_an_error_that_names_it() -> None:
    async with serving(Health()) as url:
        port = int(url.rpartition(":")[2])
        with pytest.raises(OSError, match=str(port)):
            await Listener("second", Health().build_app(), BindAddress("127.0.0.1", port)).run()


@pytest.mark.parametrize(
    ("text", "address"),
    [
        (":8080", BindAddress("", 8080)),
        ("127.0.0.1:8081", BindAddress("127.0.0.1", 8081)),
        ("localhost:0", BindAddress("localhost", 0)),
        ("[::]:8080", BindAddress("::", 8080)),
        ("[::1]:8443", BindAddress("::1", 8443)),
        ("0", None),
    ],
)
def test_addresses_are_read_as_in_go(text: str, address: BindAddress | None) -> None:
    assert parse_bind_address(text) == address
    if address is not None:
        assert str(address) == text


@pytest.mark.parametrize(
    "text", ["", "8080", "::1:8080", "host", "host:", "host:http", ":99999", "[::1]", ":-1"]
)
def test_what_is_no_address_is_refused_with_the_cure(text: str) -> None:
    with pytest.raises(BadAddressError, match="write host:port, :port or"):
        parse_bind_address(text)


async def test_a_note_is_in_the_text_and_changes_no_status() -> None:
    health, notes = Health(), ["agents have another label"]
    health.ready["informers"] = lambda: None
    health.notes["agents"] = lambda: notes[0] if notes else None
    async with serving(health) as url:
        assert await ask(f"{url}/readyz") == (200, "ok\n[!]agents: agents have another label\n")
        status, text = await ask(f"{url}/readyz?verbose")
        assert (status, text.splitlines()[0]) == (200, "[!]agents: agents have another label")
        assert await ask(f"{url}/healthz") == (200, "ok")
        notes.clear()
        assert await ask(f"{url}/readyz") == (200, "ok")
