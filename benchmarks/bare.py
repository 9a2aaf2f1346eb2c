"""The same writes by a client that does nothing else: the limit that the operator is measured beside.

Usage: bare.py kube|aiohttp FOLDER PORT NAME NAMESPACES     RoleBindings of that name
       bare.py mlflow FOLDER URL CA_FILE NAMESPACES NAMES   experiments of those names

FOLDER is a ServiceAccount's; NAMESPACES and NAMES are separated by commas.
"""

import asyncio
import json
import ssl
import sys
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path
from typing import Any

import aiohttp

from kagenti_operator.contract import EXPERIMENTS_PATH, KAGENTI
from kagenti_operator.controllers.agents.controller import WORKERS as AGENT_WORKERS
from kagenti_operator.controllers.collector.access import WORKERS as ACCESS_WORKERS
from kagenti_operator.controllers.collector.access import build_binding
from kagenti_operator.kube.auth.credentials import load_connection
from kagenti_operator.kube.client import APPLY_PATCH, KubeClient
from kagenti_operator.kube.resources import ROLE_BINDINGS


async def in_parallel[T](width: int, work: Callable[[T], Awaitable[object]], items: Sequence[T]) -> None:
    waiting = iter(items)

    async def worker() -> None:
        for item in waiting:
            await work(item)

    async with asyncio.TaskGroup() as group:
        for _ in range(width):
            group.create_task(worker())


def build_body(namespace: str, name: str) -> dict[str, Any]:
    account = (KAGENTI.namespace, "otel-collector")
    body = dict(build_binding(KAGENTI, namespace, "view", account=account, owner=None))
    body["metadata"] = {"name": name, "namespace": namespace, "labels": {"benchmark": "bare"}}
    return body


async def apply_by_kube_client(folder: Path, port: str, name: str, namespaces: Sequence[str]) -> None:
    environ = {"KUBERNETES_SERVICE_HOST": "127.0.0.1", "KUBERNETES_SERVICE_PORT": port}
    async with KubeClient(load_connection(environ, service_account=folder)) as client:

        async def apply(namespace: str) -> None:
            await client.apply(ROLE_BINDINGS, build_body(namespace, name))

        await in_parallel(ACCESS_WORKERS, apply, namespaces)


async def apply_by_aiohttp(folder: Path, port: str, name: str, namespaces: Sequence[str]) -> None:
    context = ssl.create_default_context(cafile=folder / "ca.crt")
    headers = {"Authorization": f"Bearer {(folder / 'token').read_text()}", "Content-Type": APPLY_PATCH}
    async with aiohttp.ClientSession(headers=headers) as session:

        async def apply(namespace: str) -> None:
            path = ROLE_BINDINGS.path(namespace, name)
            url = f"https://127.0.0.1:{port}{path}?fieldManager=bare&force=true"
            body = json.dumps(build_body(namespace, name)).encode()
            async with session.patch(url, data=body, ssl=context) as answer:
                await answer.read()
                answer.raise_for_status()

        await in_parallel(ACCESS_WORKERS, apply, namespaces)


async def make_experiments(
    folder: Path, url: str, ca_file: str, namespaces: Sequence[str], names: Sequence[str]
) -> None:
    context = ssl.create_default_context(cafile=ca_file)
    token = (folder / "token").read_text()
    async with aiohttp.ClientSession(headers={"Authorization": f"Bearer {token}"}) as session:

        async def make(key: tuple[str, str]) -> None:
            namespace, name = key
            headers = {"X-MLFLOW-WORKSPACE": namespace}
            create = f"{url}{EXPERIMENTS_PATH}/create"
            async with session.post(create, json={"name": name}, headers=headers, ssl=context) as answer:
                await answer.read()
                answer.raise_for_status()

        # Namespaces in turn, as the operator's queue serves them.
        await in_parallel(AGENT_WORKERS, make, [(ns, name) for name in names for ns in namespaces])


async def main() -> None:
    how, folder, *rest = sys.argv[1:]
    began = asyncio.get_running_loop().time()
    match how, rest:
        case "kube", (port, name, namespaces):
            done = namespaces.split(",")
            await apply_by_kube_client(Path(folder), port, name, done)
        case "aiohttp", (port, name, namespaces):
            done = namespaces.split(",")
            await apply_by_aiohttp(Path(folder), port, name, done)
        case "mlflow", (url, ca_file, namespaces, names):
            done = [f"{ns}/{n}" for ns in namespaces.split(",") for n in names.split(",")]
            await make_experiments(Path(folder), url, ca_file, namespaces.split(","), names.split(","))
        case _:
            raise SystemExit(__doc__)
    seconds = asyncio.get_running_loop().time() - began
    print(json.dumps({"per_second": len(done) / seconds}))


if __name__ == "__main__":
    asyncio.run(main())
