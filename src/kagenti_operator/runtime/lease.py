"""The Lease that leader election is about: reading it, and writing it only if nobody else did since."""

from dataclasses import dataclass
from datetime import datetime
from typing import Any

import msgspec

from kagenti_operator.kube.client import KubeClient
from kagenti_operator.kube.errors import ApiError

API_VERSION = "coordination.k8s.io/v1"
KIND = "Lease"


@dataclass(frozen=True)
class Lease:
    """A Lease as the server gave it, whole, so that what others keep in it survives our writes."""

    body: dict[str, Any]

    @property
    def record(self) -> dict[str, Any]:
        """The spec: who leads, since when, how long."""
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

    @property
    def transitions(self) -> int:
        """How often it went from one holder to another."""
        return int(self.record.get("leaseTransitions") or 0)


def micro_time(moment: datetime) -> str:
    """Write a UTC time as `meta/v1` MicroTime."""
    return moment.strftime("%Y-%m-%dT%H:%M:%S.%fZ")


class LeaseClient:
    """Requests for one Lease."""

    def __init__(self, client: KubeClient, namespace: str, name: str) -> None:
        self._client = client
        self._namespace = namespace
        self._name = name
        self._collection = f"/apis/{API_VERSION}/namespaces/{namespace}/leases"

    async def get(self) -> Lease | None:
        """Return the lease as it is now, None where there is none. Raises KubeError."""
        try:
            return _decode(await self._client.raw("GET", f"{self._collection}/{self._name}"))
        except ApiError as error:
            if error.not_found:
                return None
            raise

    async def create(self, holder: str, duration: float, now: datetime) -> Lease:
        """Create it, held. Raises ApiError with `conflict` where somebody was faster, KubeError."""
        body = {
            "apiVersion": API_VERSION,
            "kind": KIND,
            "metadata": {"name": self._name, "namespace": self._namespace},
            "spec": _held({}, holder, duration, now),
        }
        return await self._send("POST", self._collection, body)

    async def hold(self, lease: Lease, holder: str, duration: float, now: datetime) -> Lease:
        """Hold it, or hold it on. Raises ApiError with `conflict` unless it is still as given, KubeError."""
        return await self._replace(lease, _held(lease.record, holder, duration, now))

    async def release(self, lease: Lease, now: datetime) -> Lease:
        """Give it back: anybody may take it at once. Raises as `hold` does."""
        moment = micro_time(now)
        return await self._replace(
            lease,
            {
                **lease.record,
                "holderIdentity": "",
                "leaseDurationSeconds": 1,
                "acquireTime": moment,
                "renewTime": moment,
            },
        )

    async def _replace(self, lease: Lease, record: dict[str, Any]) -> Lease:
        # The resource version inside the body makes the server refuse when it has another one by now.
        body = {**lease.body, "apiVersion": API_VERSION, "kind": KIND, "spec": record}
        return await self._send("PUT", f"{self._collection}/{self._name}", body)

    async def _send(self, method: str, path: str, body: dict[str, Any]) -> Lease:
        return _decode(await self._client.raw(method, path, body=msgspec.json.encode(body)))


def _decode(body: bytes) -> Lease:
    return Lease(msgspec.json.decode(body, type=dict[str, Any]))


def _held(record: dict[str, Any], holder: str, duration: float, now: datetime) -> dict[str, Any]:
    moment = micro_time(now)
    if record.get("holderIdentity") == holder:
        return {**record, "leaseDurationSeconds": int(duration), "renewTime": moment}
    # As in client-go the first holder is no transition, every later change of hands is one.
    transitions = int(record.get("leaseTransitions") or 0) + 1 if record else 0
    return {
        **record,
        "holderIdentity": holder,
        "leaseDurationSeconds": int(duration),
        "acquireTime": moment,
        "renewTime": moment,
        "leaseTransitions": transitions,
    }
