"""Runs one container as often as its pod wants, asks its probes, and keeps its record up to date."""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Protocol

from kagenti_devcluster.errors import DevClusterError
from kagenti_devcluster.node.environ import SourceMissing
from kagenti_devcluster.node.images import ImageError
from kagenti_devcluster.node.launch import Launch, RunningContainer, start
from kagenti_devcluster.node.models import Probe
from kagenti_devcluster.node.probes import Prober, ProbeState
from kagenti_devcluster.node.state import ContainerRecord, Running, Terminated, Waiting
from kagenti_devcluster.node.tasks import log_failure
from kagenti_operator import clock
from kagenti_operator.backoff import Backoff

# The kubelet begins with 10 s and goes up to 300 s; here somebody is waiting in front of a terminal.
_CRASH_LOOP = Backoff(first=1.0, longest=30.0)
# Who ran that long starts over with a short pause.
_HEALTHY_SECONDS = 60.0
_CANNOT_START = 128


class RecordEvent(Protocol):
    """Records an Event about the pod."""

    def __call__(self, reason: str, message: str, *, warning: bool = False) -> None:
        """`reason` is one CamelCase word."""
        ...


@dataclass(slots=True)
class RestartPauses:
    """Pauses between restarts: 1 s, doubled each time up to 30 s. Pure."""

    restarts: int = 0

    def next(self, ran_seconds: float) -> float:
        """The pause after a run of that many seconds."""
        self.restarts = 1 if ran_seconds >= _HEALTHY_SECONDS else self.restarts + 1
        return _CRASH_LOOP.step(self.restarts)


def is_restarted(policy: str, exit_code: int) -> bool:
    """Whether a container that ended like this runs again. Pure."""
    return policy == "Always" or (policy == "OnFailure" and exit_code != 0)


class ContainerRunner:
    """One container of one pod, from its first start to its last end."""

    def __init__(
        self,
        record: ContainerRecord,
        *,
        policy: str,
        grace_seconds: float,
        address: str,
        prepare: Callable[[], Awaitable[Launch]],
        changed: Callable[[], None],
        record_event: RecordEvent,
    ):
        """`prepare` raises SourceMissing or ImageError; `changed` is called when the record changed."""
        self.record = record
        self._policy = policy
        self._grace_seconds = grace_seconds
        self._address = address
        self._prepare = prepare
        self._changed = changed
        self._record_event = record_event
        self._pauses = RestartPauses()
        self._process: RunningContainer | None = None
        self._stopping = False
        # Ends a pause: somebody wants us to stop, or what we waited for may be there.
        self._wake = asyncio.Event()
        self._started = asyncio.Event()

    @property
    def _name(self) -> str:
        return self.record.container.name

    def stop(self) -> None:
        """Ask the container to end, and do not run it again."""
        self._stopping = True
        self._wake.set()
        if self._process:
            self._process.terminate()

    def kill(self) -> None:
        """End it now."""
        if self._process:
            self._process.kill()

    def retry(self) -> None:
        """Something changed that it may wait for."""
        if isinstance(self.record.state, Waiting):
            self._wake.set()

    async def wait_started(self) -> None:
        """Return once it has passed its startup probe, or started where it has none."""
        await self._started.wait()

    async def run(self) -> None:
        """Run until it ended for good; leaves nothing running, whatever happens."""
        while not self._stopping:
            before = clock.monotonic()
            self._process = await self._start()
            if self._process:
                await self._follow(self._process)
            if self._stopping or not self._goes_on():
                return
            await self._pause(self._pauses.next(clock.monotonic() - before))

    def _goes_on(self) -> bool:
        state = self.record.state
        return not isinstance(state, Terminated) or is_restarted(self._policy, state.exit_code)

    async def _pause(self, seconds: float) -> None:
        state = self.record.state
        if isinstance(state, Terminated):
            self.record.last = state
            message = f"back-off {seconds:.0f} s before restarting container {self._name}"
            self.record.state = Waiting("CrashLoopBackOff", f"{message}: {state.message}".rstrip(": "))
            self.record.restarts += 1
            self._changed()
            self._record_event("BackOff", message, warning=True)
        self._wake.clear()
        if self._stopping:
            return
        try:
            async with asyncio.timeout(seconds):
                await self._wake.wait()
        except TimeoutError:
            return

    async def _start(self) -> RunningContainer | None:
        """Start it; returns None with the reason in the record where that is not possible."""
        try:
            process = await start(await self._prepare())
        except SourceMissing as error:
            self._wait_because("CreateContainerConfigError", str(error))
        except ImageError as error:
            self._wait_because("ErrImagePull", str(error))
        except (DevClusterError, OSError) as error:
            now = clock.now()
            self.record.state = Terminated(_CANNOT_START, now, now, "StartError", str(error))
            self._changed()
            self._record_event("Failed", str(error), warning=True)
        else:
            self.record.state = Running(clock.now())
            self._changed()
            if self._stopping:
                process.terminate()
            return process
        return None

    def _wait_because(self, reason: str, message: str) -> None:
        state = Waiting(reason, message)
        if self.record.state != state:
            self.record.state = state
            self._changed()
            self._record_event("Failed", message, warning=True)

    async def _follow(self, process: RunningContainer) -> None:
        """Wait for the end, probing meanwhile."""
        probing = asyncio.create_task(self._probe(process), name=f"probe {self._name}")
        probing.add_done_callback(log_failure)
        try:
            code = await process.wait()
        finally:
            probing.cancel()
            await asyncio.gather(probing, return_exceptions=True)
            process.kill()
            await process.wait()
            self._process = None
            self.record.ready = self.record.started = False
        state = self.record.state
        since = state.started_at if isinstance(state, Running) else clock.now()
        self.record.state = Terminated(code, since, clock.now())
        self._changed()

    async def _probe(self, process: RunningContainer) -> None:
        container = self.record.container
        prober = Prober(self._address, container, process.execute)
        if container.startup_probe and not await self._pass_startup(prober, container.startup_probe):
            await self._end(process, "the startup probe failed")
            return
        self.record.started = True
        self._started.set()
        self.record.ready = container.readiness_probe is None
        self._changed()
        async with asyncio.TaskGroup() as group:
            if container.readiness_probe:
                group.create_task(self._watch_readiness(prober, container.readiness_probe))
            if container.liveness_probe:
                group.create_task(self._watch_liveness(prober, container.liveness_probe, process))

    async def _ask(self, prober: Prober, probe: Probe, state: ProbeState, kind: str) -> bool | None:
        """Ask once and wait for the next time; returns the verdict."""
        problem = await prober.ask(probe)
        verdict = state.observe(problem is None)
        if problem is not None:
            self._record_event("Unhealthy", f"{kind} probe of {self._name} failed: {problem}", warning=True)
        return verdict

    async def _pass_startup(self, prober: Prober, probe: Probe) -> bool:
        state = ProbeState(probe, None)
        await asyncio.sleep(probe.initial_delay_seconds)
        while True:
            if (verdict := await self._ask(prober, probe, state, "startup")) is not None:
                return verdict
            await asyncio.sleep(probe.period_seconds)

    async def _watch_readiness(self, prober: Prober, probe: Probe) -> None:
        state = ProbeState(probe, False)
        await asyncio.sleep(probe.initial_delay_seconds)
        while True:
            ready = bool(await self._ask(prober, probe, state, "readiness"))
            if ready != self.record.ready:
                self.record.ready = ready
                self._changed()
            await asyncio.sleep(probe.period_seconds)

    async def _watch_liveness(self, prober: Prober, probe: Probe, process: RunningContainer) -> None:
        state = ProbeState(probe, True)
        await asyncio.sleep(probe.initial_delay_seconds)
        while True:
            if not await self._ask(prober, probe, state, "liveness"):
                return await self._end(process, "the liveness probe failed")
            await asyncio.sleep(probe.period_seconds)

    async def _end(self, process: RunningContainer, reason: str) -> None:
        self._record_event("Killing", f"container {self._name} is restarted: {reason}", warning=True)
        process.terminate()
        # This task is cancelled when the process has ended.
        await asyncio.sleep(self._grace_seconds)
        process.kill()
