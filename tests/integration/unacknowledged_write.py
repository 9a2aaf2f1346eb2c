"""A write while the network is down: does it ever arrive?

Run as `python unacknowledged_write.py gated|plain`. In a network namespace of its own it connects a client to
a peer, takes the loopback interface down, writes, gives the write up, and looks what the kernel still holds
for the peer. Prints `held` or `dropped`.
"""

import asyncio
import fcntl
import os
import socket
import struct
import sys
import tempfile
import time
from pathlib import Path

from aiohttp import web

from kagenti_operator.kube.auth.credentials import load_connection
from kagenti_operator.kube.client import KubeClient
from kagenti_operator.runtime.election.fencing import UNACKNOWLEDGED_SECONDS, fence

_SIOCSIFFLAGS = 0x8914
IFF_UP = 1
_MARGIN_SECONDS = 4.0
_KUBECONFIG = """\
apiVersion: v1
kind: Config
current-context: peer
contexts: [{{name: peer, context: {{cluster: peer, user: me}}}}]
clusters: [{{name: peer, cluster: {{server: "http://127.0.0.1:{port}"}}}}]
users: [{{name: me, user: {{token: abc}}}}]
"""


def set_loopback(flags: int) -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as control:
        fcntl.ioctl(control, _SIOCSIFFLAGS, struct.pack("16sH14x", b"lo", flags))


def unsent_bytes(port: int) -> int:
    """What the kernel still wants to send to that port, whoever once wrote it."""
    total = 0
    for line in Path("/proc/self/net/tcp").read_text().splitlines()[1:]:
        _, _, remote, _, queues, *_ = line.split()
        if int(remote.rpartition(":")[2], 16) == port:
            total += int(queues.partition(":")[0], 16)
    return total


async def answer(_: web.Request) -> web.Response:
    return web.json_response({})


async def start_peer() -> tuple[web.AppRunner, int]:
    app = web.Application()
    app.router.add_route("*", "/{path:.*}", answer)
    runner = web.AppRunner(app)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    return runner, runner.addresses[0][1]


def build_client(kind: str, port: int) -> KubeClient:
    with tempfile.TemporaryDirectory() as directory:
        path = Path(directory) / "kubeconfig"
        path.write_text(_KUBECONFIG.format(port=port))
        connection = load_connection({"KUBECONFIG": str(path)})
    if kind == "plain":
        return KubeClient(connection)
    return KubeClient(connection, build_connector=fence(lambda: True))


async def main(kind: str) -> str:
    set_loopback(IFF_UP)
    runner, port = await start_peer()
    try:
        async with build_client(kind, port) as client:
            await client.raw("GET", "/connect")
            set_loopback(0)
            writing = asyncio.create_task(client.raw("POST", "/late", body=b"{}"))
            while not unsent_bytes(port):
                await asyncio.sleep(0.05)
            writing.cancel()
            await asyncio.gather(writing, return_exceptions=True)
        deadline = time.monotonic() + UNACKNOWLEDGED_SECONDS + _MARGIN_SECONDS
        while unsent_bytes(port) and time.monotonic() < deadline:
            await asyncio.sleep(0.1)
        return "held" if unsent_bytes(port) else "dropped"
    finally:
        await runner.cleanup()


if __name__ == "__main__":
    os.unshare(os.CLONE_NEWUSER | os.CLONE_NEWNET)
    print(asyncio.run(main(sys.argv[1])))
