"""How long a pod waits for AuthBridge's webhook: what the API server sends, sent by this process."""

import asyncio
import gc
import random
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import aiohttp
import yaml

from benchmarks.fleets import checking, rounded
from benchmarks.progress import say
from benchmarks.reaction import quantile
from benchmarks.subject import Operator
from benchmarks.testbed import Bed, in_parallel, open_testbed
from kagenti_devcluster.testing.platform import SYSTEM, eventually
from kagenti_devcluster.testing.ports import free_port
from kagenti_operator.contract import WEBHOOK_PATH
from tests.support.webhook_replicas import BASE, build_pod

NAMESPACES = 1000
PODS = 3000
PER_SECOND = 100.0
# Both would be counted as the operator's: this process' first connections, and its pauses.
WARM_UP = 100
PLATFORM = {"images": {"authbridge": "r/a:1", "proxyInit": "r/i:1"}}


async def measure_admission(python: Path, directory: Path, *, profile: Path | None) -> dict[str, Any]:
    """Milliseconds from a review's connection to its answer: first with files to write, then from caches."""
    async with open_testbed(directory, python) as bed:
        text = yaml.safe_dump(PLATFORM)
        await bed.platform.config_map(SYSTEM, "kagenti-platform-config", {"config.yaml": text})
        names = [f"team-{number:04}" for number in range(NAMESPACES)]
        say(f"making {NAMESPACES} namespaces that AuthBridge is switched on for")
        await in_parallel(lambda name: _enable(bed, name), names)
        port = free_port()
        flags = ("--enable-authbridge", f"--webhook-bind-address=127.0.0.1:{port}")
        operator = Operator(python, directory, bed.credentials, *flags, profile=profile)
        with operator, checking(operator):
            connector = aiohttp.TCPConnector(ssl=False, limit=0, force_close=True)
            url = f"https://127.0.0.1:{port}{WEBHOOK_PATH}"
            async with aiohttp.ClientSession(connector=connector) as session:

                async def served() -> None:
                    assert await _is_answered(session, url)

                await eventually(served)
                say(f"{NAMESPACES} first pods, {PER_SECOND:.0f} per second")
                first = await _admit(session, url, names)
                say(f"{PODS} pods whose files are there")
                rng, before = random.Random(7), operator.cpu_seconds()
                known = await _admit(session, url, [rng.choice(names) for _ in range(PODS)])
                cpu = 1000 * (operator.cpu_seconds() - before) / PODS
            found = {"first": first, "known": known, "cpu_ms_per_pod": round(cpu, 2)}
            found["memory"] = rounded(operator.memory())
            await operator.stop()
        return found


async def _enable(bed: Bed, name: str) -> None:
    labels = {"kagenti-enabled": "true"}
    body = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name, "labels": labels}}
    await bed.platform.put(f"/api/v1/namespaces/{name}", body)
    text = yaml.safe_dump(dict(BASE))
    await bed.platform.config_map(name, "authbridge-runtime-config", {"config.yaml": text})


async def _is_answered(session: aiohttp.ClientSession, url: str) -> bool:
    try:
        async with session.post(url, json=_review("nowhere", kind="Secret")) as answer:
            return (await answer.json())["response"]["allowed"]
    except aiohttp.ClientError:
        return False


async def _admit(session: aiohttp.ClientSession, url: str, namespaces: Sequence[str]) -> dict[str, float]:
    """Ask for one pod in each of these namespaces, at that mean rate."""
    rng, seconds = random.Random(7), list[float]()

    async def ask(namespace: str) -> None:
        body, began = _review(namespace), time.monotonic()
        async with session.post(url, json=body) as answer:
            response = (await answer.json())["response"]
        seconds.append(time.monotonic() - began)
        if not response.get("patch"):
            raise RuntimeError(f"a pod of {namespace} was not injected: {response}")

    gc.freeze()
    gc.disable()
    try:
        async with asyncio.TaskGroup() as group:
            for namespace in namespaces:
                group.create_task(ask(namespace))
                await asyncio.sleep(rng.uniform(0.5, 1.5) / PER_SECOND)
    finally:
        gc.enable()
        gc.unfreeze()
    measured = seconds[WARM_UP:]
    parts = {"p50_ms": 0.5, "p99_ms": 0.99, "max_ms": 1.0}
    return {name: round(1000 * quantile(measured, part), 1) for name, part in parts.items()}


def _review(namespace: str, *, kind: str = "Pod") -> dict[str, Any]:
    return {
        "apiVersion": "admission.k8s.io/v1",
        "kind": "AdmissionReview",
        "request": {
            "uid": f"{random.getrandbits(64):x}",
            "kind": {"group": "", "version": "v1", "kind": kind},
            "operation": "CREATE",
            "namespace": namespace,
            "object": build_pod("agent"),
        },
    }
