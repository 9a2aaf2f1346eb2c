from dataclasses import dataclass

import pytest
from prometheus_client import CollectorRegistry

from kagenti_operator import clock
from kagenti_operator.runtime.telemetry.informer_metrics import InformerMetrics
from tests.support.virtual_time import advance

pytestmark = pytest.mark.virtual_time


@dataclass
class Fake:
    name: str
    synced: bool
    silent_seconds: float | None


async def test_each_informer_shows_whether_it_is_complete_and_when_it_was_heard() -> None:
    registry = CollectorRegistry()
    pods, sandboxes = Fake("pods team1", True, 12.0), Fake("sandboxes.agents.x-k8s.io", False, None)
    registry.register(InformerMetrics([pods, sandboxes]))

    def sample(name: str, informer: str) -> float | None:
        return registry.get_sample_value(f"kagenti_informer_{name}", {"informer": informer})

    await advance(100)
    heard = "last_heard_timestamp_seconds"
    assert sample("synced", pods.name) == 1
    assert sample(heard, pods.name) == clock.now().timestamp() - 12
    assert sample("synced", sandboxes.name) == 0
    assert sample(heard, sandboxes.name) is None
