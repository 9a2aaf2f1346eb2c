"""Agents that get all of section 2.6 of the contract, beside what MLflow answers to a bare client."""

import asyncio
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

from benchmarks.fleet import Size, make_fleet
from benchmarks.fleets import checking, rounded, run_bare
from benchmarks.progress import say
from benchmarks.subject import Operator
from benchmarks.testbed import Bed, open_testbed
from benchmarks.witness import witness_configured
from kagenti_devcluster.testing.mlflow_server import MLflowServer, running_mlflow

FLEET = Size(40, 10)


async def measure_agents(python: Path, directory: Path, *, profile: Path | None) -> dict[str, Any]:
    """Agents configured per second, start to finish, between two runs of a bare client of MLflow."""
    keys = FLEET.keys()
    async with AsyncExitStack() as running:
        bed = await running.enter_async_context(open_testbed(directory, python))
        await bed.platform.managed_and_ready()
        say(f"making {FLEET} agents, starting MLflow")
        await make_fleet(bed, FLEET)
        data = directory / "mlflow"
        data.mkdir()
        server = await _start(running, bed, data)
        await bed.platform.set_mlflow_status(address=server.url)
        before = await _measure_bare(bed, server, "before")
        say("starting the operator, until every agent is configured")
        agents = await running.enter_async_context(witness_configured(bed.admin))
        flag = f"--mlflow-ca-file={server.ca_file}"
        with Operator(python, directory, bed.credentials, flag, profile=profile) as operator:
            with checking(operator):
                await agents.wait_for(keys, seconds=600)
            last = max(agents.seen[key] for key in keys) - operator.started
            used, memory = operator.cpu_seconds(), rounded(operator.memory())
            await operator.stop()
        after = await _measure_bare(bed, server, "after")
        return {
            "agents": len(keys),
            "last_agent_seconds": round(last, 2),
            "agents_per_second": round(agents.rate(keys), 1),
            "bare_per_second": round((before + after) / 2, 1),
            "cpu_seconds": round(used, 2),
            "memory": memory,
        }


async def _start(running: AsyncExitStack, bed: Bed, data: Path) -> MLflowServer:
    """MLflow needs its time to start, and this loop must go on meanwhile."""
    return await asyncio.to_thread(running.enter_context, running_mlflow(bed.control_plane, data))


async def _measure_bare(bed: Bed, server: MLflowServer, prefix: str) -> float:
    """Experiments made per second, in the same workspaces."""
    say("as many experiments by a bare client")
    names = (f"{prefix}-{number:04}" for number in range(FLEET.agents))
    return await run_bare(
        bed, "mlflow", server.url, str(server.ca_file), ",".join(FLEET.names()), ",".join(names)
    )
