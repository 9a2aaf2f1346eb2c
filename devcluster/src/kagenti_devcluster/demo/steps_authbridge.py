"""The weather agent behind its sidecar: who gets in, what its tool sees, and what the operator registered."""

import base64
import json
import secrets
import time
from collections.abc import Mapping
from typing import Any

import aiohttp

from kagenti_devcluster.cluster.kubectl import Manifest, read_manifests
from kagenti_devcluster.demo import steps_operator
from kagenti_devcluster.demo.commands import checkout_path
from kagenti_devcluster.demo.failures import Hop, StepFailed
from kagenti_devcluster.demo.report import Outcome
from kagenti_devcluster.demo.stage import COLLECTOR, TEAM, Stage
from kagenti_devcluster.demo.steps_agent import (
    AGENT,
    QUESTION,
    build_client_span,
    build_message,
    read_answer,
    send_span,
)
from kagenti_devcluster.demo.waiting import NotYet
from kagenti_devcluster.demo.workloads import is_rolled_out, workload_path
from kagenti_devcluster.host.options import KEYCLOAK, WEATHER_AGENT
from kagenti_devcluster.standins.keycloak import (
    ADMIN_SECRET,
    AGENT_CLIENT,
    DEMO_CLIENT,
    TOOL_CLIENT,
    USER,
)

TOOL = "weather-tool"
SIDECAR = "authbridge-proxy"
TOOL_URL = f"http://{TOOL}.{TEAM}.svc:8000/"
_READY_SECONDS = 120.0
_ASK = aiohttp.ClientTimeout(total=60)


async def switch_on(stage: Stage) -> Outcome:
    """Have the chart switch AuthBridge on, enable the namespace, and deploy a tool that is a server."""
    address = stage.addresses.get(KEYCLOAK.name)
    if address is None:
        raise StepFailed(
            Hop.CLUSTER, "the cluster has no Keycloak", advice="kagenti-devcluster down, and the demo again"
        )
    installed = await steps_operator.install(stage, keycloak=f"http://{address}")
    prefix = stage.names.prefix
    await stage.api.patch(
        f"/api/v1/namespaces/{TEAM}", {"metadata": {"labels": {f"{prefix}-enabled": "true"}}}
    )
    folder = checkout_path(f"examples/{TOOL}")
    await stage.apply(*(_in_realm(found, prefix) for found in read_manifests(*folder.glob("*.yaml"))))
    return Outcome(f"AuthBridge and client registration are on for {TEAM}", installed.details)


def _in_realm(manifest: Manifest, realm: str) -> Manifest:
    return json.loads(json.dumps(manifest).replace("/realms/kagenti/", f"/realms/{realm}/"))


async def roll_agent(stage: Stage) -> None:
    """Have the agent use its tool by HTTP, which makes new pods of it."""
    path = workload_path("deployments", TEAM, AGENT)
    found = await stage.api.get(path)
    if found is None:
        raise StepFailed(Hop.AGENT, f"there is no Deployment {AGENT} in {TEAM}")
    [container] = found["spec"]["template"]["spec"]["containers"]
    env = [v for v in container.get("env", []) if v["name"] != "WEATHER_URL"]
    changed = {**container, "env": [*env, {"name": "WEATHER_URL", "value": TOOL_URL}]}
    await stage.api.patch(path, {"spec": {"template": {"spec": {"containers": [changed]}}}})


async def wait_sidecar(stage: Stage) -> Outcome:
    """The agent's pod has its sidecar, and both are ready; its client's Secret is the workload's."""
    await roll_agent(stage)

    async def injected() -> dict[str, Any]:
        deployment = await stage.api.get(workload_path("deployments", TEAM, AGENT))
        tool = await stage.api.get(workload_path("deployments", TEAM, TOOL))
        if deployment is None or tool is None or not is_rolled_out(deployment) or not is_rolled_out(tool):
            raise NotYet("the pods of agent and tool are not ready")
        pods = await stage.api.list(f"/api/v1/namespaces/{TEAM}/pods", f"app.kubernetes.io/name={AGENT}")
        for pod in pods:
            if SIDECAR not in [container["name"] for container in pod["spec"]["containers"]]:
                raise NotYet(f"pod {pod['metadata']['name']} has no sidecar")
        return deployment

    deployment = await stage.until(
        "the agent behind its sidecar",
        injected,
        seconds=_READY_SECONDS,
        hop=Hop.AGENT,
        evidence=(TEAM, AGENT),
    )
    secret = await find_secret(stage)
    if secret is None:
        raise StepFailed(Hop.OPERATOR, f"no Secret of {TEAM} has the credentials of {AGENT_CLIENT}")
    owner = secret["metadata"]["ownerReferences"][0]
    if owner["uid"] != deployment["metadata"]["uid"]:
        raise StepFailed(Hop.OPERATOR, f"Secret {secret['metadata']['name']} is owned by {owner['name']}")
    details = (f"Secret {secret['metadata']['name']}, of {owner['kind']} {owner['name']}",)
    return Outcome(f"it runs behind {SIDECAR}, as client {AGENT_CLIENT}", details)


async def find_secret(stage: Stage) -> dict[str, Any] | None:
    """The Secret with the credentials of the agent's client."""
    for secret in await stage.api.list(f"/api/v1/namespaces/{TEAM}/secrets"):
        encoded = secret.get("data", {}).get("client-id.txt", "")
        if base64.b64decode(encoded).decode() == AGENT_CLIENT:
            return secret
    return None


async def call(stage: Stage) -> Outcome:
    """Without a token, with a forged one and with one of another realm: 401. With a good one: an answer."""
    good = await fetch_token(stage, stage.names.prefix, client=DEMO_CLIENT, username=USER, password=USER)
    other = await fetch_administrators_token(stage)
    tries = {"no token": "", "a forged token": forge(good), "a token of another realm": other}
    lines: list[str] = []
    for what, token in tries.items():
        status, text = await ask(stage, token)
        if status != 401:
            raise StepFailed(Hop.AGENT, f"with {what} the agent answers {status}", excerpt=[text])
        lines.append(f"{what}: {status}")
    trace, span = secrets.token_hex(16), secrets.token_hex(8)
    stage.trace_id = f"tr-{trace}"
    stage.logs.mark(stage.system, COLLECTOR)
    begun = time.time_ns()
    status, text = await ask(stage, good, {"traceparent": f"00-{trace}-{span}-01"})
    answer = read_answer(json.loads(text)) if status == 200 else ""
    if not answer:
        raise StepFailed(
            Hop.AGENT,
            f"with a good token the agent answers {status}",
            excerpt=[text, *stage.logs.read(TEAM, AGENT)[-10:]],
            advice=f"kagenti-devcluster logs {AGENT}",
        )
    await send_span(stage, build_client_span(trace, span, begun, time.time_ns()))
    return Outcome("401 without a good token", (*lines, f"{USER}'s token: 200", f"< {answer}"))


def forge(token: str) -> str:
    """The same token with another signature."""
    head, claims, signature = token.split(".")
    return f"{head}.{claims}.{'A' * len(signature)}"


async def fetch_token(stage: Stage, realm: str, *, client: str, username: str, password: str) -> str:
    """Log in by password, as a person's program does."""
    address = stage.addresses[KEYCLOAK.name]
    url = f"http://{address}/realms/{realm}/protocol/openid-connect/token"
    form = {"grant_type": "password", "client_id": client, "username": username, "password": password}
    async with aiohttp.ClientSession(timeout=_ASK) as session, session.post(url, data=form) as answer:
        content = await answer.json()
    if answer.status != 200:
        raise StepFailed(Hop.CLUSTER, f"Keycloak gives {username} no token", excerpt=[json.dumps(content)])
    return content["access_token"]


async def fetch_administrators_token(stage: Stage) -> str:
    """Log in as Keycloak's administrator, whose realm is another than the agents'."""
    found = await stage.api.get(f"/api/v1/namespaces/{KEYCLOAK.namespace}/secrets/{ADMIN_SECRET}")
    if found is None:
        raise StepFailed(Hop.CLUSTER, f"there is no Secret {ADMIN_SECRET}")
    admin = {key: base64.b64decode(value).decode() for key, value in found["data"].items()}
    return await fetch_token(stage, "master", client="admin-cli", **admin)


async def ask(stage: Stage, token: str, headers: Mapping[str, str] | None = None) -> tuple[int, str]:
    """Ask the agent the question; returns status and text of its answer, or of its sidecar's."""
    url = f"http://{stage.addresses[WEATHER_AGENT.name]}/"
    authorization = {"Authorization": f"Bearer {token}"} if token else {}
    async with (
        aiohttp.ClientSession(timeout=_ASK) as session,
        session.post(
            url, json=build_message(QUESTION), headers={**authorization, **(headers or {})}
        ) as answer,
    ):
        return answer.status, await answer.text()


async def read_tool_log(stage: Stage) -> Outcome:
    """The tool was called in the user's name, by the agent's client, with a token for the tool alone."""
    said = [line for line in stage.logs.read_latest(TEAM, TOOL) if line.startswith("answered ")]
    if not said:
        raise StepFailed(
            Hop.AGENT,
            "the tool answered nobody",
            excerpt=stage.logs.read(TEAM, TOOL)[-5:],
            advice=f"kagenti-devcluster logs {TOOL}",
        )
    seen = json.loads(said[-1].removeprefix("answered "))
    wanted = {"preferred_username": USER, "azp": AGENT_CLIENT, "aud": TOOL_CLIENT}
    if seen != wanted:
        raise StepFailed(Hop.AGENT, f"the tool got a token with {seen}, not {wanted}")
    return Outcome(f"it got a token for {TOOL_CLIENT}, of {AGENT_CLIENT} in the name of {USER}", (said[-1],))
