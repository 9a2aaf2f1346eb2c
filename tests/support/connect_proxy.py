"""An HTTP proxy that tunnels (CONNECT), wherever the client wants to go, to one port of this machine."""

import asyncio
import base64
import ssl
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager


class ConnectProxy:
    """Remembers where clients wanted to go. With `credentials` (`user:password`) it wants to see them."""

    def __init__(self, port: int, credentials: str | None) -> None:
        self._port = port
        self._authorization = f"Basic {base64.b64encode((credentials or '').encode()).decode()}"
        self._open = credentials is None
        self.address = ""
        self.asked: list[str] = []
        self.heads: list[str] = []

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """One connection, from CONNECT until an end closes it."""
        head = (await reader.readuntil(b"\r\n\r\n")).decode()
        self.heads.append(head)
        self.asked.append(head.split()[1])
        if not self._open and f"Proxy-Authorization: {self._authorization}\r\n" not in head:
            writer.write(b"HTTP/1.1 407 Proxy Authentication Required\r\nContent-Length: 0\r\n\r\n")
            await writer.drain()
            return
        there, back = await asyncio.open_connection("127.0.0.1", self._port)
        writer.write(b"HTTP/1.1 200 Connection established\r\n\r\n")
        try:
            async with asyncio.TaskGroup() as both_ways:
                both_ways.create_task(_pump(reader, back))
                both_ways.create_task(_pump(there, writer))
        finally:
            back.transport.abort()


async def _pump(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    try:
        while data := await reader.read(65536):
            writer.write(data)
            await writer.drain()
    except ConnectionError:
        pass
    writer.transport.abort()


@asynccontextmanager
async def connect_proxy(
    port: int, *, credentials: str | None = None, tls: ssl.SSLContext | None = None
) -> AsyncGenerator[ConnectProxy]:
    """A proxy at `address` (host and port), in front of that port; open connections are cut in the end."""
    proxy = ConnectProxy(port, credentials)
    connections: set[asyncio.Task[None]] = set()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            await proxy.serve(reader, writer)
        finally:
            writer.transport.abort()

    def accept(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.ensure_future(serve(reader, writer))
        connections.add(task)
        task.add_done_callback(connections.discard)

    server = await asyncio.start_server(accept, "127.0.0.1", 0, ssl=tls)
    proxy.address = f"127.0.0.1:{server.sockets[0].getsockname()[1]}"
    try:
        yield proxy
    finally:
        server.close()
        for task in tuple(connections):
            task.cancel()
        await asyncio.gather(*connections, return_exceptions=True)
