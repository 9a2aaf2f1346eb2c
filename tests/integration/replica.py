"""A replica as a process of its own: while it leads it writes a ConfigMap as fast as it can.

Run as `python replica.py KUBECONFIG NAMESPACE NAME DURATION RENEW_DEADLINE RETRY_PERIOD`.
Leaves with status 3 when it lost the leadership, and logs JSON lines.
"""

import asyncio
import random
import signal
import sys
from collections.abc import Sequence

from kagenti_operator.kube.auth.credentials import load_connection
from kagenti_operator.kube.client import KubeClient
from kagenti_operator.kube.resources import CONFIG_MAPS
from kagenti_operator.runtime.control.controller import build_controller
from kagenti_operator.runtime.control.manager import Manager
from kagenti_operator.runtime.election.fencing import fence
from kagenti_operator.runtime.election.leader import LeaderElector, Leadership, LeadershipLost, LeaseSettings
from kagenti_operator.runtime.election.lease import LeaseClient
from kagenti_operator.runtime.telemetry.events import EventRecorder
from kagenti_operator.runtime.telemetry.health import Health
from kagenti_operator.runtime.telemetry.logging import configure
from kagenti_operator.runtime.telemetry.metrics import Metrics

LEASE = "replicas"
LOST = 3


async def lead(kubeconfig: str, settings: LeaseSettings) -> int:
    rng, metrics = random.Random(), Metrics()
    leadership = Leadership()
    stop = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stop.set)
    connection = load_connection({"KUBECONFIG": kubeconfig})
    plain = KubeClient(connection)
    gated = KubeClient(connection, build_connector=fence(leadership.held), rng=rng)
    async with plain, gated:
        writes = 0

        async def write(_: str) -> float:
            nonlocal writes
            writes += 1
            metadata = {"name": settings.identity, "namespace": settings.namespace}
            body = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata}
            await gated.apply(CONFIG_MAPS, {**body, "data": {"writes": str(writes)}})
            return 0.001

        controller = build_controller("writer", write, metrics, rng)
        controller.enqueue("the only one")
        recorder = EventRecorder(gated, instance=settings.identity, rng=rng)
        manager = Manager(
            informers=(),
            controllers=(controller,),
            elector=LeaderElector(
                LeaseClient(plain, settings.namespace, settings.name),
                settings,
                leadership,
                recorder=recorder,
                metrics=metrics,
                rng=rng,
            ),
            leadership=leadership,
            health=Health(),
            always={"events": recorder.run},
        )
        try:
            await manager.run(stop)
        except LeadershipLost:
            return LOST
    return 0


def main(arguments: Sequence[str]) -> int:
    kubeconfig, namespace, name, duration, renew_deadline, retry_period = arguments
    configure("json", "info")
    settings = LeaseSettings(
        name=LEASE,
        namespace=namespace,
        identity=name,
        duration=float(duration),
        renew_deadline=float(renew_deadline),
        retry_period=float(retry_period),
    )
    return asyncio.run(lead(kubeconfig, settings))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
