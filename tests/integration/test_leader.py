"""Replicas as processes that are killed, stopped and ended while others wait, on a real API server."""

import asyncio
import json
import signal
import subprocess
import sys
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest

from kagenti_operator.kube.client import KubeClient
from kagenti_operator.kube.errors import ApiError
from kagenti_operator.runtime.election.lease import Lease, LeaseClient, held_record, released_record
from tests.integration.replica import LEASE, LOST
from tests.integration.tcp_proxy import running_proxy
from tests.support.cluster import Cluster

# Lease duration, renew deadline and retry period, in seconds: short, but long beside a busy machine's delays.
SHORT = ("5", "3.5", "0.5")
DEFAULT = ("15", "10", "2")
PATIENCE = 120.0
_REPLICA = Path(__file__).with_name("replica.py")


class Replicas:
    """Starts replicas in one namespace and watches what they do."""

    def __init__(self, cluster: Cluster, admin: KubeClient, namespace: str, logs: Path) -> None:
        self._cluster = cluster
        self.leases = LeaseClient(admin, namespace, LEASE)
        self._namespace = namespace
        self._logs = logs
        self._processes: dict[str, subprocess.Popen[bytes]] = {}

    def start(
        self, name: str, times: tuple[str, str, str] = SHORT, kubeconfig: Path | None = None
    ) -> subprocess.Popen[bytes]:
        with (self._logs / f"{name}.log").open("wb") as log:
            process = subprocess.Popen(
                [
                    sys.executable,
                    "-P",
                    str(_REPLICA),
                    str(kubeconfig or self._cluster.admin_kubeconfig),
                    self._namespace,
                    name,
                    *times,
                ],
                stderr=log,
            )
        self._processes[name] = process
        return process

    def end(self) -> None:
        for name, process in self._processes.items():
            process.kill()
            process.wait()
            print(name, (self._logs / f"{name}.log").read_text(), sep="\n")

    async def lease(self) -> Lease | None:
        return await self.leases.get()

    async def wait_for_writes_of(self, name: str, more_than: int = 0) -> None:
        async with asyncio.timeout(PATIENCE):
            while len(self.writes_of(name)) <= more_than:
                await self._pause(name)

    async def wait_for_waiting(self, name: str) -> None:
        async with asyncio.timeout(PATIENCE):
            while "Not leading" not in self.said(name):
                await self._pause(name)

    async def _pause(self, name: str) -> None:
        assert self._processes[name].poll() is None, f"{name} has ended"
        await asyncio.sleep(0.1)

    def said(self, name: str) -> str:
        """The log of that replica."""
        return (self._logs / f"{name}.log").read_text()

    def writes_of(self, name: str) -> list[datetime]:
        """When the API server received each write of that replica, by its audit log."""
        lines = self._cluster.control_plane.audit_log.read_text().splitlines()
        entries = [entry for entry in map(json.loads, lines) if self._is_of(entry, name)]
        return [datetime.fromisoformat(entry["requestReceivedTimestamp"]) for entry in entries]

    def _is_of(self, entry: dict[str, Any], name: str) -> bool:
        about = entry.get("objectRef", {})
        return (
            entry["verb"] in ("create", "patch", "update")
            and about.get("resource") == "configmaps"
            and (about.get("namespace"), about.get("name")) == (self._namespace, name)
        )


@pytest.fixture
def replicas(cluster: Cluster, admin: KubeClient, namespace: str, tmp_path: Path) -> Iterator[Replicas]:
    """Replicas that compete for a lease in the test's namespace; none is started yet."""
    replicas = Replicas(cluster, admin, namespace, tmp_path)
    yield replicas
    replicas.end()


async def start_leader(replicas: Replicas, times: tuple[str, str, str] = SHORT) -> subprocess.Popen[bytes]:
    """Start a replica; returns once it leads and works."""
    first = replicas.start("first", times)
    await replicas.wait_for_writes_of("first")
    return first


async def start_both(replicas: Replicas, times: tuple[str, str, str] = SHORT) -> subprocess.Popen[bytes]:
    """Start a leader and a second replica; returns the leader once the second waits for the lease."""
    first = await start_leader(replicas, times)
    replicas.start("second", times)
    await replicas.wait_for_waiting("second")
    return first


async def exit_status(process: subprocess.Popen[bytes]) -> int:
    return await asyncio.to_thread(process.wait, PATIENCE)


def holder(lease: Lease | None) -> str:
    return lease.holder if lease else ""


async def test_a_killed_leader_is_followed_once_its_lease_has_run_out(replicas: Replicas) -> None:
    first = await start_both(replicas)
    first.kill()
    await replicas.wait_for_writes_of("second")
    lease = await replicas.lease()
    assert lease
    assert lease.holder == "second"
    assert lease.record["leaseTransitions"] == 1
    # Not before the lease had run out, by the server's own clock.
    gap = replicas.writes_of("second")[0] - replicas.writes_of("first")[-1]
    assert gap.total_seconds() > 3


async def test_a_stopped_leader_never_writes_again_once_another_has_taken_over(replicas: Replicas) -> None:
    first = await start_both(replicas)
    first.send_signal(signal.SIGSTOP)
    await replicas.wait_for_writes_of("second")
    first.send_signal(signal.SIGCONT)
    assert await exit_status(first) == LOST
    before, after = replicas.writes_of("first"), replicas.writes_of("second")
    assert len(before) > 1
    assert before[-1] < after[0]
    assert holder(await replicas.lease()) == "second"


async def test_a_leader_that_was_stopped_while_it_was_alone_leads_on(replicas: Replicas) -> None:
    first = await start_leader(replicas)
    first.send_signal(signal.SIGSTOP)
    # The time of the freeze itself is what is tested: longer than the lease.
    await asyncio.sleep(6)
    stopped = len(replicas.writes_of("first"))
    first.send_signal(signal.SIGCONT)
    await replicas.wait_for_writes_of("first", more_than=stopped + 3)
    lease = await replicas.lease()
    assert lease
    assert lease.record["leaseTransitions"] == 0
    assert first.poll() is None


async def test_an_orderly_end_hands_over_long_before_the_lease_would_have_run_out(replicas: Replicas) -> None:
    first = await start_both(replicas, DEFAULT)
    first.terminate()
    assert await exit_status(first) == 0
    await replicas.wait_for_writes_of("second")
    last, then = replicas.writes_of("first")[-1], replicas.writes_of("second")[0]
    assert last < then
    # Where the lease of 15 s has to run out, it is 13 s at least; on an idle machine it is 1 to 3 s.
    assert (then - last).total_seconds() < 12


async def test_over_a_slow_line_the_lease_is_given_back_as_well(
    replicas: Replicas, cluster: Cluster, tmp_path: Path
) -> None:
    async with running_proxy(cluster, tmp_path) as (proxy, kubeconfig):
        proxy.delay_seconds = 0.25
        process = replicas.start("first", DEFAULT, kubeconfig)
        await replicas.wait_for_writes_of("first", 3)
        process.terminate()
        assert await exit_status(process) == 0
    assert holder(await replicas.lease()) == ""
    assert "Released the leader lease" in replicas.said("first")


async def test_a_leader_whose_lease_is_taken_leaves(replicas: Replicas) -> None:
    first = await start_leader(replicas)
    lease = await replicas.lease()
    assert lease
    while True:
        try:
            taken = held_record(lease.record, "usurper", 15, datetime.now())
            await replicas.leases.replace(lease, taken)
            break
        except ApiError as error:
            # It has renewed meanwhile.
            if not error.conflict:
                raise
            lease = await replicas.lease()
            assert lease
    assert await exit_status(first) == LOST
    assert holder(await replicas.lease()) == "usurper"


async def test_what_others_keep_on_the_lease_survives_our_writes(admin: KubeClient, namespace: str) -> None:
    now = datetime(2026, 1, 2, 3, 4, 5, 678, tzinfo=None)
    leases = LeaseClient(admin, namespace, "kept")
    assert await leases.get() is None
    lease = await leases.create(held_record({}, "a", 15, now))
    with pytest.raises(ApiError) as created_twice:
        await leases.create(held_record({}, "b", 15, now))
    assert created_twice.value.conflict
    path = f"/apis/coordination.k8s.io/v1/namespaces/{namespace}/leases/kept"
    labels = {"metadata": {"labels": {"team": "platform"}}}
    await admin.raw(
        "PATCH", path, body=json.dumps(labels).encode(), content_type="application/merge-patch+json"
    )
    with pytest.raises(ApiError) as stale:
        await leases.replace(lease, held_record(lease.record, "a", 15, now))
    assert stale.value.conflict
    lease = await leases.get()
    assert lease
    lease = await leases.replace(lease, released_record(lease.record, now))
    assert lease.body["metadata"]["labels"] == {"team": "platform"}
    assert lease.holder == ""
    assert lease.record["renewTime"] == "2026-01-02T03:04:05.000678Z"
