"""How long it takes from an agent's creation until its namespace has the RoleBinding."""

import asyncio
import gc
import random
import statistics
import time
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from benchmarks.fleet import make_agent, make_namespaces
from benchmarks.testbed import Bed
from benchmarks.witness import witness_bindings
from kagenti_devcluster.testing.platform import BINDING


@dataclass(frozen=True, kw_only=True)
class Reaction:
    """Milliseconds from the answer to the agent's creation, and from its request, to the binding's event."""

    samples: int
    p50_ms: float
    p99_ms: float
    max_ms: float
    from_request_p50_ms: float
    from_request_p99_ms: float

    def to_json(self) -> dict[str, Any]:
        return {name: round(value, 1) for name, value in asdict(self).items()}


def quantile(values: Sequence[float], part: float) -> float:
    ordered = sorted(values)
    return ordered[min(int(part * len(ordered)), len(ordered) - 1)]


async def measure_reaction(bed: Bed, namespaces: Sequence[str], *, per_second: float) -> Reaction:
    """Create one agent in each of these namespaces, which are new, at that mean rate."""
    await make_namespaces(bed, namespaces)
    sent: dict[str, float] = {}
    answered: dict[str, float] = {}

    async def create(namespace: str) -> None:
        sent[namespace] = time.monotonic()
        await make_agent(bed, (namespace, "agent"))
        answered[namespace] = time.monotonic()

    rng = random.Random(7)
    async with witness_bindings(bed.admin) as bindings:
        # Let connections be made and caches fill before the clock counts.
        await create(namespaces[0])
        await bindings.wait_for([(namespaces[0], BINDING)])
        # Pauses of this process would be counted as the operator's.
        gc.freeze()
        gc.disable()
        try:
            async with asyncio.TaskGroup() as group:
                for namespace in namespaces[1:]:
                    group.create_task(create(namespace))
                    await asyncio.sleep(rng.uniform(0.5, 1.5) / per_second)
            await bindings.wait_for((namespace, BINDING) for namespace in namespaces)
        finally:
            gc.enable()
            gc.unfreeze()
        seen = {namespace: bindings.seen[namespace, BINDING] for namespace in namespaces[1:]}
    return summarize((seen[n] - answered[n], seen[n] - sent[n]) for n in seen)


def summarize(seconds: Iterable[tuple[float, float]]) -> Reaction:
    pairs = list(seconds)
    # The binding may be seen before the answer to the agent's creation is.
    answered, sent = [max(1000 * a, 0.0) for a, _ in pairs], [1000 * s for _, s in pairs]
    return Reaction(
        samples=len(pairs),
        p50_ms=statistics.median(answered),
        p99_ms=quantile(answered, 0.99),
        max_ms=max(answered),
        from_request_p50_ms=statistics.median(sent),
        from_request_p99_ms=quantile(sent, 0.99),
    )
