"""A peer that vanishes without a word: after how many seconds does a watch notice?

Run as `python -m tests.integration.dead_peer SECONDS`, with those of the keep-alive. In a network namespace
of its own it opens a watch to a peer and takes the loopback interface down. Prints the error's class and the
seconds that it took.
"""

import asyncio
import os
import sys
import time

from kagenti_operator.kube import connector
from kagenti_operator.kube.auth.connection import Connection
from kagenti_operator.kube.client import KubeClient
from kagenti_operator.kube.errors import KubeError
from kagenti_operator.kube.resources import CONFIG_MAPS
from kagenti_operator.runtime.election.fencing import fence
from tests.integration.unacknowledged_write import IFF_UP, set_loopback

_HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n"


async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    await reader.readuntil(b"\r\n\r\n")
    writer.write(_HEAD)
    await writer.drain()
    await asyncio.Event().wait()


async def main() -> str:
    set_loopback(IFF_UP)
    server = await asyncio.start_server(answer, "127.0.0.1", 0)
    port: int = server.sockets[0].getsockname()[1]
    opened = asyncio.Event()

    async def watch(client: KubeClient) -> None:
        events = client.watch(
            CONFIG_MAPS, resource_version="1", timeout_seconds=600, silence_seconds=600, opened=opened.set
        )
        async for _ in events:
            pass

    async with KubeClient(
        Connection(f"http://127.0.0.1:{port}"), build_connector=fence(lambda: True)
    ) as client:
        watching = asyncio.create_task(watch(client))
        await opened.wait()
        set_loopback(0)
        began = time.monotonic()
        try:
            await watching
        except KubeError as error:
            return f"{type(error).__name__} {time.monotonic() - began:.1f}"
    return "the watch ended"


if __name__ == "__main__":
    os.unshare(os.CLONE_NEWUSER | os.CLONE_NEWNET)
    connector.IDLE_SECONDS = connector.PROBE_SECONDS = int(sys.argv[1])
    print(asyncio.run(main()), flush=True)
    # The peer, which waits for ever, is in this process.
    os._exit(0)
