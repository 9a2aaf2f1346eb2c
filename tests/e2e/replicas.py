"""Three replicas of the operator on a cluster of their own, harmed one way or the other while they work."""

import asyncio
import subprocess
import sys
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from kagenti_devcluster.demo.workloads import is_rolled_out, workload_path
from kagenti_devcluster.host.launcher import find_daemon
from kagenti_devcluster.host.paths import StatePaths
from kagenti_devcluster.testing.platform import SYSTEM, Platform
from kagenti_operator.contract import KAGENTI
from kagenti_operator.kube.client import KubeClient
from kagenti_operator.runtime.election.leader import LeaseSettings
from kagenti_operator.runtime.election.lease import Lease, LeaseClient
from tests.support.leader_terms import Term, Write, collect_terms, collect_writes
from tests.support.processes import find_descendants, find_program, read_environment
from tests.support.recorded_requests import read_audit_log

COUNT = 3
# Long beside what is waited for: a lease's duration, or a pod's start.
PATIENCE_SECONDS = 90.0
_POLL_SECONDS = 0.3
_NETWORK_CUT = Path(__file__).with_name("network_cut.py")
_FLICKER_SECONDS = 0.2
_TEAMS = ("flicker-1", "flicker-2", "flicker-3")
_SETTINGS = LeaseSettings(name=KAGENTI.lease, namespace=SYSTEM, identity="")
# The lease has to run out, is then looked at within one and a half retry periods, and may cost one attempt.
TAKEOVER_SECONDS = _SETTINGS.duration + 1.5 * _SETTINGS.retry_period + _SETTINGS.attempt_timeout


def pod_of(lease: Lease) -> str:
    """The pod of whoever holds that lease: the identity begins with the host name."""
    return lease.holder.partition("_")[0]


class Replicas:
    """The operator's pods, their processes, and what they did."""

    def __init__(self, paths: StatePaths, admin: KubeClient) -> None:
        self.platform = Platform(admin)
        self._paths = paths
        self._leases = LeaseClient(admin, SYSTEM, KAGENTI.lease)

    async def lease(self) -> Lease:
        found = await self._leases.get()
        assert found
        return found

    def writes(self) -> list[Write]:
        """All writes so far."""
        return collect_writes(read_audit_log(self._paths.audit_log))

    def terms(self) -> list[Term]:
        """All terms of leadership so far."""
        return collect_terms(self.writes())

    async def deployment(self) -> dict[str, Any]:
        found = await self.platform.get(workload_path("deployments", SYSTEM, KAGENTI.deployment))
        assert found
        return found

    async def settle(self) -> Lease:
        """Wait until every replica is ready and one of them leads and works; returns its lease."""
        await self._until("all replicas ready", self._all_ready)
        await self._until("a leader that stays", self._is_led)
        lease = await self.lease()
        await self.wait_for_work(lease)
        return lease

    async def _is_led(self) -> bool:
        """Whether the holder is a pod that stays: after a rollout the last old one may lead for a moment."""
        lease = await self.lease()
        path = f"/api/v1/namespaces/{SYSTEM}/pods/{pod_of(lease)}"
        pod = await self.platform.get(path) if lease.holder else None
        return pod is not None and "deletionTimestamp" not in pod["metadata"]

    async def _all_ready(self) -> bool:
        deployment = await self.deployment()
        return deployment["spec"]["replicas"] == COUNT and is_rolled_out(deployment)

    async def wait_for_work(self, lease: Lease) -> None:
        """Wait until the holder of that lease has written what it was not at before."""
        before = len(self._work_of(lease))

        async def more() -> bool:
            return len(self._work_of(lease)) > before + 3

        await self._until(f"writes of {lease.holder}", more)

    def _work_of(self, lease: Lease) -> list[Write]:
        return [write for write in self.writes() if write.pod == pod_of(lease) and not write.lease]

    async def wait_for_successor(self, old: Lease) -> tuple[Lease, Lease]:
        """Wait until another process holds the lease; returns the last record of the old one, and the new."""
        last = old

        async def other() -> bool:
            nonlocal last
            now = await self.lease()
            if now.holder == old.holder:
                last = now
            return now.holder not in ("", old.holder)

        await self._until(f"a successor of {old.holder}", other)
        return last, await self.lease()

    async def process(self, lease: Lease) -> int:
        """The process id of the operator in that holder's pod, where it may have been started anew."""
        wanted = f"POD_NAME={pod_of(lease)}"
        found: list[int] = []

        async def runs() -> bool:
            # Only the operator itself has it in its environment, not what started it.
            processes = find_descendants(self._daemon())
            found[:] = [pid for pid, _ in processes if wanted in read_environment(pid)]
            return len(found) == 1

        await self._until(f"a process in {pod_of(lease)}", runs)
        return found[0]

    def _daemon(self) -> int:
        daemon = find_daemon(self._paths)
        assert daemon, "the cluster has ended"
        return daemon

    async def wait_for_end(self, pid: int) -> None:
        """Wait until a process of the cluster is gone."""

        async def gone() -> bool:
            return not read_environment(pid)

        await self._until(f"end of process {pid}", gone)

    def set_network(self, pid: int, state: str) -> None:
        """Cut the pod of a process off from everything (`down`), or connect it again (`up`)."""
        node = find_program(self._daemon(), "kagenti_devcluster.cluster.supervisor")
        command = [sys.executable, "-P", str(_NETWORK_CUT), str(pid), str(node), state]
        subprocess.run(command, check=True, timeout=60)

    async def _until(self, what: str, condition: Callable[[], Awaitable[bool]]) -> None:
        try:
            async with asyncio.timeout(PATIENCE_SECONDS):
                while not await condition():
                    await asyncio.sleep(_POLL_SECONDS)
        except TimeoutError:
            raise AssertionError(f"never happened: {what}") from None

    @asynccontextmanager
    async def flickering(self) -> AsyncGenerator[None]:
        """Agents come and go all the time, so that there is always something to be written."""
        for team in _TEAMS:
            await self.platform.namespace(team)
            await self.platform.workload(team, "agent")
        flickering = asyncio.create_task(self._flicker())
        try:
            yield
            # It must have gone on to the end: otherwise nothing was tested.
            assert not flickering.done(), flickering.exception()
        finally:
            flickering.cancel()
            await asyncio.gather(flickering, return_exceptions=True)

    async def _flicker(self) -> None:
        agent = False
        while True:
            for team in _TEAMS:
                label = {"kagenti.io/type": "agent" if agent else None}
                await self.platform.patch(
                    workload_path("deployments", team, "agent"), {"metadata": {"labels": label}}
                )
                await asyncio.sleep(_FLICKER_SECONDS)
            agent = not agent
