"""The Lease that leader election is about: its record, and where it is kept."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Protocol

from kagenti_operator.kube.client import KubeClient
from kagenti_operator.kube.errors import ApiError, KubeError

API_VERSION = "coordination.k8s.io/v1"
KIND = "Lease"

# The spec of a Lease, whole, so that fields which others keep in it survive our writes.
type Record = Mapping[str, Any]


@dataclass(frozen=True)
class Lease:
    """A Lease as the server gave it."""

    body: Mapping[str, Any]

    @property
    def record(self) -> Record:
        """Who leads, since when, for how long."""
        return self.body.get("spec") or {}

    @property
    def uid(self) -> str:
        """The object's identity."""
        return self.body["metadata"]["uid"]

    @property
    def holder(self) -> str:
        """The identity of whoever holds it, empty when it was released."""
        return self.record.get("holderIdentity") or ""

    @property
    def duration(self) -> float:
        """For how many seconds without a change it is held; a record without it is not held."""
        return float(self.record.get("leaseDurationSeconds") or 0)


def micro_time(moment: datetime) -> str:
    """Write a UTC time as `meta/v1` MicroTime."""
    return moment.strftime("%Y-%m-%dT%H:%M:%S.%fZ")


def held_record(record: Record, holder: str, duration: float, now: datetime) -> Record:
    """Return the record after `holder` has taken it, or renewed it if it was the holder already."""
    moment = micro_time(now)
    renewed = {**record, "leaseDurationSeconds": int(duration), "renewTime": moment}
    if record.get("holderIdentity") == holder:
        return renewed
    # As in client-go the first holder is no transition, every later change of hands is one.
    transitions = int(record.get("leaseTransitions") or 0) + 1 if record else 0
    return {**renewed, "holderIdentity": holder, "acquireTime": moment, "leaseTransitions": transitions}


def released_record(record: Record, now: datetime) -> Record:
    """Return the record that anybody may take at once; worded as client-go does."""
    moment = micro_time(now)
    free = {"holderIdentity": "", "leaseDurationSeconds": 1, "acquireTime": moment, "renewTime": moment}
    return {**record, **free}


class LeaseStore(Protocol):
    """Where one Lease is kept. Everything raises KubeError."""

    async def get(self) -> Lease | None:
        """Return the lease as it is now, None where there is none."""
        ...

    async def create(self, record: Record) -> Lease:
        """Create it. Raises ApiError with `conflict` where somebody was faster."""
        ...

    async def replace(self, lease: Lease, record: Record) -> Lease:
        """Give it another record. Raises ApiError with `conflict` unless it is still as in `lease`."""
        ...


class LeaseClient:
    """Fulfils `LeaseStore` by requests to the API server."""

    def __init__(self, client: KubeClient, namespace: str, name: str) -> None:
        self._client = client
        self._namespace = namespace
        self._name = name
        self._collection = f"/apis/{API_VERSION}/namespaces/{namespace}/leases"

    async def get(self) -> Lease | None:
        """Return the lease as it is now, None where there is none."""
        try:
            return await self._ask("GET", f"{self._collection}/{self._name}")
        except ApiError as error:
            if error.not_found:
                return None
            raise

    async def create(self, record: Record) -> Lease:
        """Create it."""
        metadata = {"name": self._name, "namespace": self._namespace}
        return await self._send("POST", self._collection, {"metadata": metadata}, record)

    async def replace(self, lease: Lease, record: Record) -> Lease:
        """Give it another record; the resource version in its body makes the server refuse a stale write."""
        return await self._send("PUT", f"{self._collection}/{self._name}", lease.body, record)

    async def _send(self, method: str, path: str, body: Mapping[str, Any], record: Record) -> Lease:
        whole = {**body, "apiVersion": API_VERSION, "kind": KIND, "spec": record}
        return await self._ask(method, path, whole)

    async def _ask(self, method: str, path: str, body: Mapping[str, Any] | None = None) -> Lease:
        match await self._client.ask(method, path, dict[str, Any], body=body):
            case {"kind": "Lease", "metadata": {"uid": str(), "resourceVersion": str()}} as found:
                return Lease(found)
            case _:
                # Somebody on the way says yes to everything, and nobody must lead by that.
                raise KubeError(f"{method} {path}: the answer is no {KIND}, so it is not the API server's")
