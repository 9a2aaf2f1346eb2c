"""Agents come and go: what the operator holds afterwards is what it held before."""

import asyncio
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.experiments import run_experiments
from benchmarks.fleet import make_agent, make_namespaces
from benchmarks.progress import say
from benchmarks.subject import Operator
from benchmarks.testbed import Bed, in_parallel, open_testbed
from benchmarks.witness import Key, Witness, witness, witness_configured
from kagenti_devcluster.testing.platform import BINDING, eventually
from kagenti_operator.contract import COLLECTOR_CONFIG, COLLECTOR_CONFIG_KEY, KAGENTI
from kagenti_operator.kube.resources import AGENT_DEPLOYMENTS, CONFIG_MAPS, ROLE_BINDINGS
from kagenti_operator.runtime.control.request_budget import MOST_KEYS
from kagenti_operator.runtime.control.write_backoff import MOST_ONCE

NAMESPACES = 50
AGENTS_PER_ROUND = 500
ROUNDS = 20
# Bounded by number, and full only after a while: what is remembered of Events, of single writes, of requests
# that were sent, and replaced timers.
BOUNDED = {
    "EventRecorder._series": 1000,
    "EventRecorder._budgets": 1000,
    "WorkQueue._timers": 128,
    "Generations.young": MOST_ONCE + MOST_KEYS,
    "Generations.old": MOST_ONCE + MOST_KEYS,
    "RequestBudget._accounts": NAMESPACES,
}
# aiohttp closes a connection that nobody has used for 15 s.
_SETTLE_SECONDS = 20.0
_DEADLINE_SECONDS = 60.0


@dataclass(frozen=True, kw_only=True)
class Stock:
    """What the operator holds: tasks, sockets, entries by collection, MiB."""

    tasks: Mapping[str, int]
    sockets: int
    entries: Mapping[str, int]
    resident_mib: float

    def lesser(self, other: "Stock") -> "Stock":
        """The smaller of each count."""
        return Stock(
            tasks=_least(self.tasks, other.tasks),
            sockets=min(self.sockets, other.sockets),
            entries=_least(self.entries, other.entries),
            resident_mib=other.resident_mib,
        )

    @property
    def counts(self) -> Mapping[str, int]:
        """Everything that is counted, by name."""
        tasks = {f"task {name}": count for name, count in self.tasks.items()}
        return {**tasks, "sockets": self.sockets, **self.entries}

    def growth_since(self, before: "Stock") -> dict[str, int]:
        """Every count that is larger than before, or than its bound, and by how much."""
        allowed = {**before.counts, **BOUNDED}
        grown = {name: count - allowed.get(name, 0) for name, count in self.counts.items()}
        return {name: more for name, more in grown.items() if more > 0}


def _least(some: Mapping[str, int], others: Mapping[str, int]) -> dict[str, int]:
    return {name: min(count, others.get(name, 0)) for name, count in some.items()}


@dataclass(frozen=True, kw_only=True)
class Soak:
    """`resident_mib` after each round."""

    events: int
    before: Stock
    after: Stock
    resident_mib: Sequence[float]


async def measure_soak(python: Path, directory: Path, *, profile: Path | None) -> dict[str, Any]:
    """20,000 agents made and deleted."""
    began = time.monotonic()
    async with open_testbed(directory, python) as bed:
        soak = await run_soak(
            bed, rounds=ROUNDS, agents=AGENTS_PER_ROUND, namespaces=NAMESPACES, profile=profile
        )
    return {
        "events": soak.events,
        "seconds": round(time.monotonic() - began),
        "before": _sum_up(soak.before),
        "after": _sum_up(soak.after),
        "growth": soak.after.growth_since(soak.before),
        "resident_mib": soak.resident_mib,
    }


def _sum_up(stock: Stock) -> dict[str, float]:
    entries = sum(count for name, count in stock.entries.items() if name not in BOUNDED)
    return {
        "tasks": sum(stock.tasks.values()),
        "sockets": stock.sockets,
        "entries": entries,
        "resident_mib": stock.resident_mib,
    }


async def run_soak(
    bed: Bed, *, rounds: int, agents: int, namespaces: int, profile: Path | None = None
) -> Soak:
    """Make and delete that many agents in each round; a first round is for caches and pools to fill."""
    teams = [f"team-{number:04}" for number in range(namespaces)]
    await make_namespaces(bed, teams)
    async with (
        run_experiments() as url,
        witness(bed.admin, ROLE_BINDINGS) as bindings,
        witness_configured(bed.admin) as configured,
    ):
        await bed.platform.managed_and_ready(url)
        # It is asked for nothing but new experiments.
        flags = ("--mlflow-poll-interval=1000000",)
        with Operator(bed.python, bed.directory, bed.credentials, *flags, profile=profile) as operator:
            resident: list[float] = []
            await _churn(bed, bindings, configured, teams, 0, agents)
            await _wait_for_configuration(bed, url)
            before = await _take_least(operator, seconds=_SETTLE_SECONDS)
            for number in range(1, rounds + 1):
                await _churn(bed, bindings, configured, teams, number, agents)
                resident.append(round(operator.memory()["resident_mib"], 1))
                say(f"round {number} of {rounds}: {resident[-1]} MiB")
            after = await _take_least(
                operator,
                seconds=_DEADLINE_SECONDS,
                enough=lambda stock: not stock.growth_since(before),
            )
            await operator.stop()
    return Soak(events=2 * rounds * agents, before=before, after=after, resident_mib=resident)


async def _wait_for_configuration(bed: Bed, url: str) -> None:
    """What is reported of the collector's configuration is, once that is complete."""

    async def is_complete() -> None:
        found = await bed.admin.get(CONFIG_MAPS, COLLECTOR_CONFIG, KAGENTI.namespace)
        assert found is not None
        assert url in (found.data or {})[COLLECTOR_CONFIG_KEY]

    await eventually(is_complete)


async def _churn(
    bed: Bed, bindings: Witness, configured: Witness, teams: Sequence[str], number: int, agents: int
) -> None:
    """Make agents of new names, wait until each has everything, delete them, wait until nothing is left."""
    keys = [(teams[n % len(teams)], f"agent-{number:02}-{n:03}") for n in range(agents)]

    async def make(key: Key) -> None:
        await make_agent(bed, key)

    async def delete(key: Key) -> None:
        await bed.admin.delete(AGENT_DEPLOYMENTS, key[1], key[0])

    await in_parallel(make, keys)
    wanted = {(namespace, BINDING) for namespace, _ in keys}
    await bindings.wait_for(wanted | {(namespace, KAGENTI.agent_role(name)) for namespace, name in keys})
    await configured.wait_for(keys)
    await in_parallel(delete, keys)
    gone = set(teams)
    await bindings.until(lambda: not any(namespace in gone for namespace, _ in bindings.seen))


async def _take_least(
    operator: Operator, *, seconds: float, enough: Callable[[Stock], bool] = lambda _: False
) -> Stock:
    """The least of each count in that time: what is just under way, as a lease's renewal, only adds to it."""
    deadline = time.monotonic() + seconds
    least = await _take_stock(operator)
    while time.monotonic() < deadline and not enough(least):
        await asyncio.sleep(1)
        least = least.lesser(await _take_stock(operator))
    return least


async def _take_stock(operator: Operator) -> Stock:
    held = await operator.held()
    return Stock(
        tasks=held["tasks"],
        sockets=operator.sockets(),
        entries=held["entries"],
        resident_mib=round(operator.memory()["resident_mib"], 1),
    )
