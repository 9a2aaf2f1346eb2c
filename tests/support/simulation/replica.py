"""The operator's processes: each runs all that `kagenti-operator run` wires, in a loop that they share."""

import asyncio
import random
from collections import deque
from collections.abc import Callable, Sequence
from contextvars import copy_context
from typing import Any

from kagenti_operator.cli import run
from kagenti_operator.cli.errors import UsageError
from kagenti_operator.cli.main import build_parser
from kagenti_operator.contract import KAGENTI
from kagenti_operator.kube.auth.connection import Connection
from kagenti_operator.kube.auth.rotation import FixedToken
from tests.support.simulation.loop import PROCESS, SimulationLoop
from tests.support.simulation.wire import Network

API_HOST = "kubernetes.test"
FLAGS = (
    "--enable-mlflow",
    "--enable-otel-bootstrap",
    "--mlflow-poll-interval=60",
    "--metrics-bind-address=0",
    "--health-probe-bind-address=0",
)
# The kubelet starts a container again some time after it ended.
RESTART_SECONDS = 3.0


class OperatorProcess:
    """One process: from its start to its end, whatever ends it."""

    def __init__(self, network: Network, identity: str, flags: Sequence[str], dice: random.Random) -> None:
        self.identity = identity
        self.dead = False
        self.frozen: deque[asyncio.Handle] | None = None
        self.on_signal: Callable[[], object] | None = None
        self.dice = dice
        self._network = network
        self._flags = flags
        context = copy_context()
        context.run(PROCESS.set, self)
        self.task = asyncio.get_running_loop().create_task(self._main(), context=context)

    def __repr__(self) -> str:
        return self.identity

    @property
    def token(self) -> str:
        return f"operator:{self.identity}"

    async def _main(self) -> int:
        args = build_parser().parse_args(["run", *self._flags])
        connection = Connection(
            f"http://{API_HOST}", token=FixedToken(self.token), namespace=KAGENTI.namespace, in_pod=True
        )
        return await run._run(args, run.build_settings(args), connection)  # pyright: ignore[reportPrivateUsage]

    async def kill(self) -> None:
        """End it as SIGKILL does: nothing that it does from here on is seen by anybody."""
        self.dead = True
        if self.frozen is not None:
            self.go_on()
        self._network.cut(self)
        while not self.task.done():
            self.task.cancel()
            await asyncio.wait({self.task}, timeout=5)

    def stop(self) -> None:
        """Send it SIGTERM."""
        if self.on_signal:
            self.on_signal()

    def freeze(self) -> None:
        self.frozen = deque()

    def go_on(self) -> None:
        loop = asyncio.get_running_loop()
        assert isinstance(loop, SimulationLoop)
        loop.go_on(self)


def current_identity() -> str:
    """In the place of `process_identity`."""
    process: Any = PROCESS.get()
    return process.identity


def current_dice() -> random.Random:
    """In the place of `random.Random()`, with which a process begins."""
    process: Any = PROCESS.get()
    return process.dice


class Replica:
    """A pod of the operator's Deployment: its process is started anew when it ends."""

    def __init__(self, network: Network, name: str, flags: Sequence[str], seed: int) -> None:
        self._network = network
        self._name = name
        self._flags = flags
        self._seed = seed
        self._starts = 0
        # What ended a process that should not have.
        self.failures: list[BaseException] = []
        self._pause = RESTART_SECONDS
        self.process: OperatorProcess | None = None
        self._task = asyncio.get_running_loop().create_task(self._run())

    async def _run(self) -> None:
        while True:
            self._starts += 1
            dice = random.Random(f"{self._seed} {self._name} {self._starts}")
            identity = f"{self._name}-{self._starts}"
            self.process = process = OperatorProcess(self._network, identity, self._flags, dice)
            await asyncio.wait({process.task})
            if not process.task.cancelled() and not process.dead:
                error = process.task.exception()
                if error is not None and not isinstance(error, UsageError):
                    self.failures.append(error)
            self._network.cut(process)
            self._network.unplugged.discard(process)
            process.dead = True
            await asyncio.sleep(self._pause)
            self._pause = RESTART_SECONDS

    async def crash(self, pause: float = RESTART_SECONDS) -> None:
        process = self.process
        self._pause = pause
        if process and not process.task.done():
            await process.kill()

    async def close(self) -> None:
        self._task.cancel()
        await asyncio.wait({self._task})
        if self.process:
            await self.process.kill()
