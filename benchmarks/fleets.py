"""One fleet, from the operator's start to its stop."""

import asyncio
import json
from collections.abc import Generator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from benchmarks.fleet import Size, make_configured_fleet, make_fleet
from benchmarks.progress import say
from benchmarks.reaction import Reaction, measure_reaction
from benchmarks.subject import ROOT, Operator, build_environ
from benchmarks.testbed import Bed, in_parallel, open_testbed
from benchmarks.witness import Witness, witness, witness_bindings
from kagenti_devcluster.testing.platform import BINDING, MLFLOW_NAMESPACE, workload_path
from kagenti_operator.kube.resources import ROLE_BINDINGS

# Where nobody listens: experiments are measured by themselves, beside a real MLflow (agents.py).
NO_MLFLOW = "https://mlflow.redhat-ods-applications.svc:8443"
REACTIONS = 600
REACTIONS_PER_SECOND = 20.0
CHANGES = 2000
REST_SECONDS = 60.0
# What the last changes brought about, events among it, is through after this.
SETTLE_SECONDS = 15.0


async def measure_fleet(
    python: Path, directory: Path, size: Size, *, profile: Path | None, bare: bool = False
) -> dict[str, Any]:
    """Start to last binding, reaction, memory, CPU, rest and stop; `bare`: beside bare clients' bindings."""
    async with open_testbed(directory, python) as bed:
        await bed.platform.managed_and_ready(NO_MLFLOW)
        await bed.platform.set_mlflow_status(available=False, address=None)
        say(f"making {size} agents")
        await make_fleet(bed, size)
        found: dict[str, Any] = {}
        before = await _measure_bare(bed, size.names(), "before") if bare else {}
        async with witness_bindings(bed.admin) as bindings:
            with Operator(python, directory, bed.credentials, profile=profile) as operator:
                found["start"] = await _measure_start(operator, bindings, size)
                found |= await _measure_reaction(bed, operator)
                found["ms_per_change"] = await _measure_changes(bed, operator, size)
                found["rest"] = await _measure_rest(operator)
                found["memory"] = rounded(operator.memory())
                found["stop_seconds"] = round(await operator.stop(), 2)
        if bare:
            # Before and after: what else the machine does meanwhile weighs on both alike.
            after = await _measure_bare(bed, size.names(), "after")
            found["bare"] = {name: round((before[name] + after[name]) / 2, 1) for name in before}
        return found


async def measure_configured(
    python: Path, directory: Path, size: Size, *, profile: Path | None
) -> dict[str, Any]:
    """A fleet that an earlier process has configured: what an operator holds in full service."""
    async with open_testbed(directory, python) as bed:
        await bed.platform.managed_and_ready(NO_MLFLOW)
        say(f"making {size} agents with experiment, Role and RoleBinding")
        await make_configured_fleet(bed, size, NO_MLFLOW)
        async with witness_bindings(bed.admin) as bindings:
            # Polls would go to a server that does not exist here.
            flags = ("--mlflow-poll-interval=1000000",)
            with Operator(python, directory, bed.credentials, *flags, profile=profile) as operator:
                found: dict[str, Any] = {"start": await _measure_start(operator, bindings, size)}
                found["rest"] = await _measure_rest(operator)
                # New agents would ask for their experiments.
                await bed.platform.set_mlflow_status(available=False, address=None)
                found |= await _measure_reaction(bed, operator)
                found["memory"] = rounded(operator.memory())
                found["stop_seconds"] = round(await operator.stop(), 2)
                return found


async def react(bed: Bed, prefix: str, count: int) -> Reaction:
    """Reaction to agents in that many new namespaces."""
    names = [f"{prefix}-{number:04}" for number in range(count + 1)]
    return await measure_reaction(bed, names, per_second=REACTIONS_PER_SECOND)


async def _measure_start(operator: Operator, bindings: Witness, size: Size) -> dict[str, Any]:
    say("starting the operator, until every namespace has its binding")
    keys = [(team, BINDING) for team in size.names()]
    with checking(operator):
        await bindings.wait_for([*keys, (MLFLOW_NAMESPACE, BINDING)])
    times = sorted(bindings.seen[key] for key in keys)
    return {
        "first_binding_seconds": round(times[0] - operator.started, 2),
        "last_binding_seconds": round(times[-1] - operator.started, 2),
        "bindings_per_second": round(bindings.rate(keys), 1),
        "cpu_seconds": round(operator.cpu_seconds(), 2),
        **rounded(operator.memory()),
    }


async def _measure_reaction(bed: Bed, operator: Operator) -> dict[str, Any]:
    """Reaction, and the operator's CPU per agent that appears, its binding included."""
    say(f"{REACTIONS} agents in new namespaces, {REACTIONS_PER_SECOND:g} per second")
    before = operator.cpu_seconds()
    reaction = await react(bed, "new", REACTIONS)
    used = operator.cpu_seconds() - before
    return {"reaction": reaction.to_json(), "ms_per_agent": round(1000 * used / (REACTIONS + 1), 2)}


async def _measure_changes(bed: Bed, operator: Operator, size: Size) -> float:
    """Milliseconds of the operator's CPU per change of an agent that needs nothing done."""
    say(f"{CHANGES} changes of agents that need nothing done")
    keys = size.keys()
    before = operator.cpu_seconds()

    async def change(number: int) -> None:
        body = {"metadata": {"labels": {"changed": str(number)}}}
        await bed.platform.patch(workload_path(*keys[number % len(keys)]), body)

    await in_parallel(change, range(CHANGES))
    # The last changes are still on their way.
    await asyncio.sleep(1)
    return round(1000 * (operator.cpu_seconds() - before) / CHANGES, 3)


async def _measure_rest(operator: Operator) -> dict[str, Any]:
    """What the operator does when nothing changes."""
    say(f"at rest, {SETTLE_SECONDS + REST_SECONDS:g} s")
    await asyncio.sleep(SETTLE_SECONDS)
    requests, cpu = await operator.requests(), operator.cpu_seconds()
    await asyncio.sleep(REST_SECONDS)
    later, used = await operator.requests(), operator.cpu_seconds() - cpu
    new = {kind: (n - requests.get(kind, 0)) * 60 / REST_SECONDS for kind, n in later.items()}
    return {
        "core_percent": round(100 * used / REST_SECONDS, 3),
        "requests_per_minute": {kind: round(n, 1) for kind, n in sorted(new.items()) if n},
    }


async def _measure_bare(bed: Bed, namespaces: list[str], name: str) -> dict[str, float]:
    """Bindings per second by bare clients, measured from outside as the operator's are."""
    say("as many bindings by bare clients")
    rates: dict[str, float] = {}
    for how in ("kube", "aiohttp"):
        binding = f"bare-{how}-{name}"
        keys = [(namespace, binding) for namespace in namespaces]
        async with witness(bed.admin, ROLE_BINDINGS, field_selector=f"metadata.name={binding}") as seen:
            await run_bare(bed, how, str(bed.credentials.port), binding, ",".join(namespaces))
            await seen.wait_for(keys)
            rates[how] = round(seen.rate(keys), 1)
    return rates


async def run_bare(bed: Bed, how: str, *arguments: str) -> float:
    """Run the bare client in the operator's environment; return its own count of requests per second."""
    process = await asyncio.create_subprocess_exec(
        *(str(bed.python), "-P", str(ROOT / "benchmarks" / "bare.py")),
        *(how, str(bed.credentials.folder), *arguments),
        env=build_environ(bed.directory),
        stdout=asyncio.subprocess.PIPE,
    )
    output, _ = await process.communicate()
    if process.returncode:
        raise RuntimeError(f"the bare client ended with {process.returncode}")
    return json.loads(output)["per_second"]


@contextmanager
def checking(operator: Operator) -> Generator[None]:
    """Say that the operator ended, where that is why something did not happen."""
    try:
        yield
    except TimeoutError:
        operator.check()
        raise


def rounded(values: Mapping[str, float]) -> dict[str, float]:
    return {name: round(value, 1) for name, value in values.items()}
