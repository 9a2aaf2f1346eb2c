"""A line to a server that a test can cut, block, slow down, and let fall silent."""

import asyncio
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from pathlib import Path

import yaml

from tests.support.cluster import Cluster


class TcpProxy:
    """A line to the API server that a test can cut, block, slow down, and let fall silent."""

    def __init__(self, port: int) -> None:
        self._port = port
        self._writers: set[asyncio.StreamWriter] = set()
        self._tasks: set[asyncio.Task[None]] = set()
        self.blocked = False
        # Each way.
        self.delay_seconds = 0.0
        self.silent: set[asyncio.StreamWriter] = set()

    def accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.ensure_future(self._connect(reader, writer))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _connect(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if self.blocked:
            writer.transport.abort()
            return
        there, back = await asyncio.open_connection("127.0.0.1", self._port)
        self._writers |= {writer, back}
        try:
            await asyncio.gather(self._pump(reader, back), self._pump(there, writer))
        finally:
            for end in (writer, back):
                end.transport.abort()
            self._writers -= {writer, back}

    async def _pump(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while data := await reader.read(65536):
                if self.delay_seconds:
                    await asyncio.sleep(self.delay_seconds)
                if writer not in self.silent:
                    writer.write(data)
                    await writer.drain()
        except ConnectionError:
            pass
        writer.transport.abort()

    def cut(self) -> None:
        """Break every connection."""
        for writer in self._writers:
            writer.transport.abort()

    def fall_silent(self) -> None:
        """The connections that exist stay open, but nothing passes any more."""
        self.silent |= self._writers

    async def close(self) -> None:
        for task in tuple(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)


@asynccontextmanager
async def running_proxy(cluster: Cluster, directory: Path) -> AsyncGenerator[tuple[TcpProxy, Path]]:
    """A proxy, and the kubeconfig of the administrator through it."""
    proxy = TcpProxy(cluster.control_plane.port)
    server = await asyncio.start_server(proxy.accept, "127.0.0.1", 0)
    config = yaml.safe_load(cluster.admin_kubeconfig.read_text())
    config["clusters"][0]["cluster"]["server"] = f"https://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    path = directory / "proxied.kubeconfig"
    path.write_text(yaml.safe_dump(config))
    yield proxy, path
    server.close()
    await proxy.close()
