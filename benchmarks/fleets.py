"""One fleet, from the operator's start to its stop."""

import asyncio
import json
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from benchmarks.fleet import Size, make_configured_fleet, make_fleet
from benchmarks.reaction import measure_reaction
from benchmarks.subject import ROOT, Operator, build_environ
from benchmarks.testbed import Testbed, in_parallel, open_testbed
from benchmarks.witness import Witness, witness, witness_bindings
from kagenti_operator.kube.resources import ROLE_BINDINGS
from tests.integration.reconcile.platform import BINDING, MLFLOW_NAMESPACE, workload_path

# Where nobody listens: the fleet is granted access, its experiments are measured by themselves.
NO_MLFLOW = "https://mlflow.redhat-ods-applications.svc:8443"
REACTIONS_PER_SECOND = 20.0
CHANGES = 2000


async def measure_fleet(
    python: Path,
    directory: Path,
    size: Size,
    *,
    reactions: int,
    rest_seconds: float,
    bare: bool = False,
    profile: Path | None = None,
) -> dict[str, Any]:
    """Start to last binding, reaction, memory, CPU, rest and stop; `bare`: beside bare clients' bindings."""
    async with open_testbed(directory, python) as bed:
        await bed.platform.managed_and_ready(NO_MLFLOW)
        await bed.platform.set_mlflow_status(available=False, address=None)
        await make_fleet(bed, size)
        found: dict[str, Any] = {"fleet": str(size)}
        if bare:
            found["bare"] = await measure_bare(bed, size.names(), "first")
        async with witness_bindings(bed.admin) as bindings:
            with Operator(python, directory, bed.credentials, profile=profile) as operator:
                found["start"] = await measure_start(operator, bindings, size)
                found["reaction"] = (await _reaction(bed, "new", reactions)).to_json()
                found["cpu"] = await measure_cpu(bed, operator, size, reactions)
                found["rest"] = await measure_rest(operator, rest_seconds)
                found["memory"] = rounded(operator.memory())
                found["stop_seconds"] = round(await operator.stop(), 2)
        if bare:
            again = await measure_bare(bed, size.names(), "second")
            found["bare"] = {name: round((found["bare"][name] + rate) / 2, 1) for name, rate in again.items()}
        return found


async def _reaction(bed: Testbed, prefix: str, count: int):
    names = [f"{prefix}-{number:04}" for number in range(count + 1)]
    return await measure_reaction(bed, names, per_second=REACTIONS_PER_SECOND)


async def measure_start(operator: Operator, bindings: Witness, size: Size) -> dict[str, Any]:
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


async def measure_cpu(bed: Testbed, operator: Operator, size: Size, count: int) -> dict[str, Any]:
    """CPU of the operator per agent that appears, its binding included, and per change that needs nothing."""
    before = operator.cpu_seconds()
    await _reaction(bed, "more", count)
    appeared = operator.cpu_seconds() - before
    keys = size.keys()
    before = operator.cpu_seconds()

    async def change(number: int) -> None:
        body = {"metadata": {"labels": {"changed": str(number)}}}
        await bed.platform.patch(workload_path(*keys[number % len(keys)]), body)

    await in_parallel(change, range(CHANGES))
    # The last changes are still on their way.
    await asyncio.sleep(1)
    return {
        "ms_per_agent": round(1000 * appeared / (count + 1), 2),
        "ms_per_change": round(1000 * (operator.cpu_seconds() - before) / CHANGES, 3),
    }


async def measure_rest(operator: Operator, seconds: float) -> dict[str, Any]:
    """What the operator does when nothing changes."""
    await asyncio.sleep(min(15, seconds))
    requests, cpu = await operator.requests(), operator.cpu_seconds()
    await asyncio.sleep(seconds)
    later, used = await operator.requests(), operator.cpu_seconds() - cpu
    minutes = seconds / 60
    new = {kind: (n - requests.get(kind, 0)) / minutes for kind, n in later.items()}
    return {
        "seconds": seconds,
        "core_percent": round(100 * used / seconds, 3),
        "requests_per_minute": {kind: round(n, 1) for kind, n in sorted(new.items()) if n},
    }


async def measure_bare(bed: Testbed, namespaces: list[str], name: str) -> dict[str, float]:
    """Bindings per second by bare clients, measured from outside as the operator's are."""
    rates: dict[str, float] = {}
    for how in ("kube", "aiohttp"):
        binding = f"bare-{how}-{name}"
        keys = [(namespace, binding) for namespace in namespaces]
        async with witness(bed.admin, ROLE_BINDINGS, field_selector=f"metadata.name={binding}") as seen:
            await run_bare(bed, how, str(bed.credentials.port), binding, ",".join(namespaces))
            await seen.wait_for(keys)
            rates[how] = round(seen.rate(keys), 1)
    return rates


async def run_bare(bed: Testbed, how: str, *arguments: str) -> float:
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


async def measure_configured(
    python: Path, directory: Path, size: Size, *, reactions: int, rest_seconds: float
) -> dict[str, Any]:
    """A fleet that an earlier process has configured: what an operator holds in full service."""
    async with open_testbed(directory, python) as bed:
        await bed.platform.managed_and_ready(NO_MLFLOW)
        await make_configured_fleet(bed, size, NO_MLFLOW)
        async with witness_bindings(bed.admin) as bindings:
            # Polls would go to a server that does not exist here.
            with Operator(python, directory, bed.credentials, "--mlflow-poll-interval=1000000") as operator:
                start = await measure_start(operator, bindings, size)
                rest = await measure_rest(operator, rest_seconds)
                await bed.platform.set_mlflow_status(available=False, address=None)
                reaction = await _reaction(bed, "new", reactions)
                return {
                    "fleet": f"{size} configured",
                    "start": start,
                    "rest": rest,
                    "reaction": reaction.to_json(),
                    "memory": rounded(operator.memory()),
                    "stop_seconds": round(await operator.stop(), 2),
                }


@contextmanager
def checking(operator: Operator) -> Generator[None]:
    """Say that the operator ended, where that is why something did not happen."""
    try:
        yield
    except TimeoutError:
        operator.check()
        raise


def rounded(values: Any) -> dict[str, float]:
    return {name: round(value, 1) for name, value in values.items()}
