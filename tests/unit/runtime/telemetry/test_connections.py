"""Whoever holds connections open holds up nobody else, and not the process."""

import asyncio
import socket
import ssl
from collections.abc import AsyncGenerator
from contextlib import AsyncExitStack, asynccontextmanager

import aiohttp
import pytest
from structlog.testing import capture_logs

from kagenti_operator.runtime.telemetry.connections import AT_ONCE, Connections, Limits, open_sockets
from kagenti_operator.runtime.telemetry.health import Health
from kagenti_operator.runtime.telemetry.listener import BindAddress, Listener
from kagenti_operator.runtime.telemetry.serving_certificate import build_self_signed_context

type Stream = tuple[asyncio.StreamReader, asyncio.StreamWriter]

SOMEBODY, ANOTHER = "127.0.0.2", "127.0.0.3"


async def build_context() -> ssl.SSLContext:
    return await build_self_signed_context(("localhost",))


@asynccontextmanager
async def probes(*, secure: bool) -> AsyncGenerator[str]:
    """The URL of a server of probes."""
    tls = build_context if secure else None
    listener = Listener("probes", Health().build_app(), BindAddress("127.0.0.1", 0), tls=tls)
    serving = asyncio.create_task(listener.run())
    try:
        async with asyncio.timeout(30):
            await listener.ready.wait()
        yield f"{'https' if secure else 'http'}://127.0.0.1:{listener.port}/healthz"
    finally:
        serving.cancel()
        await asyncio.gather(serving, return_exceptions=True)


async def ask(url: str, peer: str) -> tuple[int, str | None]:
    connector = aiohttp.TCPConnector(local_addr=(peer, 0), ssl=False)
    async with aiohttp.ClientSession(connector=connector) as session, session.get(url) as response:
        return response.status, response.headers.get("Connection")


async def hold(stack: AsyncExitStack, url: str, peer: str, count: int) -> list[Stream]:
    """Open connections that say nothing."""
    port = int(url.split(":")[2].partition("/")[0])
    held: list[Stream] = []
    for _ in range(count):
        stream = await asyncio.open_connection("127.0.0.1", port, local_addr=(peer, 0))
        stack.callback(stream[1].close)
        held.append(stream)
    return held


async def is_closed(stream: Stream) -> bool:
    try:
        async with asyncio.timeout(30):
            return await stream[0].read() == b""
    except ConnectionError:
        return True


@pytest.mark.parametrize("secure", [False, True])
async def test_whoever_holds_every_place_keeps_nobody_out(secure: bool) -> None:
    async with probes(secure=secure) as url, AsyncExitStack() as stack:
        held = await hold(stack, url, SOMEBODY, AT_ONCE + 8)
        assert await ask(url, ANOTHER) == (200, "close")
        assert await ask(url, SOMEBODY) == (200, "close")
        # The oldest had to go, the newest stay.
        assert all([await is_closed(stream) for stream in held[:9]])
        assert not held[-1][0].at_eof()


async def test_one_of_few_connections_stays_while_another_peer_has_too_many() -> None:
    async with probes(secure=False) as url, AsyncExitStack() as stack:
        [modest] = await hold(stack, url, ANOTHER, 1)
        with capture_logs() as logs:
            greedy = await hold(stack, url, SOMEBODY, 2 * AT_ONCE)
            assert await is_closed(greedy[0])
        modest[1].write(b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n")
        assert b"200 OK" in await modest[0].readline()
        warnings = [line for line in logs if line["log_level"] == "warning"]
        assert [(line["server"], line["peer"]) for line in warnings] == [("probes", SOMEBODY)]


async def test_who_says_nothing_is_let_go() -> None:
    [listening] = open_sockets("127.0.0.1", 0)
    listening.setblocking(False)
    connections = Connections("test", asyncio.Protocol, None, Limits(request_seconds=0.05))
    accepting = asyncio.create_task(connections.accept(listening))
    stream = await asyncio.open_connection(*listening.getsockname())
    assert await is_closed(stream)
    stream[1].close()
    accepting.cancel()
    await asyncio.gather(accepting, return_exceptions=True)
    listening.close()


def test_the_whole_machine_is_one_port_for_both_families() -> None:
    sockets = open_sockets("", 0)
    assert len({listening.getsockname()[1] for listening in sockets}) == 1
    with socket.create_connection(("127.0.0.1", sockets[0].getsockname()[1])):
        pass
    for listening in sockets:
        listening.close()


class Answering(asyncio.Protocol):
    """Answers as soon as it is told something, and closes."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self.transport = transport

    def data_received(self, data: bytes) -> None:
        self.transport.write(data)
        self.transport.close()


@asynccontextmanager
async def echo(limits: Limits) -> AsyncGenerator[str]:
    """The address of a server that answers once."""
    [listening] = open_sockets("127.0.0.1", 0)
    listening.setblocking(False)
    connections = Connections("test", Answering, None, limits)
    accepting = asyncio.create_task(connections.accept(listening))
    yield f"tcp://127.0.0.1:{listening.getsockname()[1]}/"
    accepting.cancel()
    await asyncio.gather(accepting, return_exceptions=True)
    await connections.close()
    listening.close()


async def say(stream: Stream) -> bytes:
    stream[1].write(b"x")
    async with asyncio.timeout(30):
        return await stream[0].read()


async def test_of_a_burst_nothing_is_lost_where_connections_are_spared() -> None:
    async with echo(Limits(at_once=4, spared_seconds=60, waiting=100)) as url, AsyncExitStack() as stack:
        burst = await hold(stack, url, SOMEBODY, 60)
        assert await asyncio.gather(*map(say, burst)) == [b"x"] * 60


async def test_who_says_nothing_gives_its_place_to_one_that_waits_once_it_is_no_longer_spared() -> None:
    async with echo(Limits(at_once=4, spared_seconds=0.05, waiting=100)) as url, AsyncExitStack() as stack:
        silent = await hold(stack, url, SOMEBODY, 8)
        [modest] = await hold(stack, url, ANOTHER, 1)
        assert await say(modest) == b"x"
        assert await is_closed(silent[0])


async def test_whoever_fills_the_waiting_room_keeps_nobody_out_of_it() -> None:
    async with echo(Limits(at_once=1, spared_seconds=0.2, waiting=4)) as url, AsyncExitStack() as stack:
        await hold(stack, url, SOMEBODY, 12)
        [modest] = await hold(stack, url, ANOTHER, 1)
        assert await say(modest) == b"x"
