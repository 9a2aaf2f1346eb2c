"""Replicas that compete for a lease in memory, in virtual time."""

import asyncio
import random
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

from kagenti_operator.kube.errors import ApiError
from kagenti_operator.kube.objects.models import KubeObject, ObjectMeta
from kagenti_operator.kube.resources import Resource
from kagenti_operator.runtime.election.leader import LeaderElector, Leadership, LeaseSettings
from kagenti_operator.runtime.election.lease import Lease, Record
from kagenti_operator.runtime.telemetry.events import EventRecorder
from kagenti_operator.runtime.telemetry.metrics import Metrics


class SharedLease:
    """A lease in memory that several electors compete for."""

    def __init__(self) -> None:
        self.lease: Lease | None = None
        self.version = 0
        self.writes: list[str] = []
        # Called with the new holder just before it is one.
        self.on_write: Callable[[str], None] = lambda _: None

    @property
    def holder(self) -> str:
        return self.lease.holder if self.lease else ""

    def put(self, record: Record) -> Lease:
        self.version += 1
        self.lease = Lease({"metadata": {"uid": "u", "resourceVersion": self.version}, "spec": record})
        return self.lease

    def connect(self) -> "LeaseConnection":
        return LeaseConnection(self)


class LeaseConnection:
    """One elector's way to the lease, which can break."""

    def __init__(self, shared: SharedLease) -> None:
        self._shared = shared
        self.failure: Exception | None = None
        self.hangs = False
        # From a request to its answer.
        self.seconds = 0.0
        self.loses_answers = False

    async def _send(self) -> None:
        if self.hangs:
            await asyncio.Event().wait()
        if self.failure:
            raise self.failure
        await asyncio.sleep(self.seconds)

    async def get(self) -> Lease | None:
        await self._send()
        return self._shared.lease

    async def create(self, record: Record) -> Lease:
        await self._send()
        if self._shared.lease is not None:
            raise ApiError("create Lease", status=409, reason="AlreadyExists")
        return await self._store(record)

    async def replace(self, lease: Lease, record: Record) -> Lease:
        await self._send()
        if self._shared.lease is None:
            raise ApiError("update Lease", status=404, reason="NotFound")
        if lease.body["metadata"]["resourceVersion"] != self._shared.version:
            raise ApiError("update Lease", status=409, reason="Conflict")
        return await self._store(record)

    async def _store(self, record: Record) -> Lease:
        self._shared.on_write(record["holderIdentity"])
        lease = self._shared.put(record)
        self._shared.writes.append(lease.holder)
        if self.loses_answers:
            await asyncio.Event().wait()
        return lease


class Notes:
    """Keeps the events that would be sent."""

    def __init__(self) -> None:
        self.notes: list[str] = []

    async def create(self, resource: Resource[KubeObject], body: Mapping[str, Any]) -> KubeObject:
        del resource
        self.notes.append(f"{body['reason']}: {body['note']}")
        return KubeObject(metadata=ObjectMeta(name="event"))

    async def merge_patch(
        self,
        resource: Resource[KubeObject],
        name: str,
        body: Mapping[str, Any],
        namespace: str | None = None,
    ) -> KubeObject:
        raise AssertionError(f"no series expected: {resource} {namespace}/{name} {body}")


class Replica:
    """A replica that competes for the lease, and writes whenever it believes that it may."""

    def __init__(self, name: str, shared: SharedLease) -> None:
        self.name = name
        self.rng = random.Random(name)
        self.connection = shared.connect()
        self.leadership = Leadership()
        self.metrics = Metrics()
        self.sink = Notes()
        self.recorder = EventRecorder(self.sink, instance=name, rng=random.Random(1))
        self.finish = asyncio.Event()
        self.led = 0
        settings = LeaseSettings(name="operator", namespace="kagenti-system", identity=name)
        self._elector = LeaderElector(
            self.connection,
            settings,
            self.leadership,
            recorder=self.recorder,
            metrics=self.metrics,
            rng=self.rng,
        )
        self.task: asyncio.Task[None] | None = None
        self._sending: asyncio.Task[None] | None = None

    async def _lead(self) -> None:
        self.led += 1
        await self.finish.wait()

    def start(self, lead: Callable[[], Awaitable[None]] | None = None) -> None:
        self.task = asyncio.create_task(self._elector.run(lead or self._lead))
        self._sending = asyncio.create_task(self.recorder.run())

    async def end(self) -> BaseException | None:
        assert self.task
        assert self._sending
        self._sending.cancel()
        self.task.cancel()
        return (await asyncio.gather(self.task, self._sending, return_exceptions=True))[0]

    @property
    def status(self) -> float | None:
        return self.metrics.registry.get_sample_value("leader_election_master_status", {"name": "operator"})
