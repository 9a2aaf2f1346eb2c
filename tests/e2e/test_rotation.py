"""Tokens, the service CA and the collector itself are replaced while a client sends a span every second."""

import asyncio
import os
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from kagenti_devcluster.demo.failures import Hop
from kagenti_devcluster.demo.stage import COLLECTOR, MLFLOW, TEAM, Stage
from kagenti_devcluster.demo.waiting import NotYet
from kagenti_devcluster.demo.workloads import environment, is_rolled_out, workload_path
from kagenti_devcluster.toolchain import binaries
from tests.e2e.names import MLFLOW_NAMESPACE, NAMES, OPERATOR, PLATFORM
from tests.e2e.reading import find_experiment, read

SENDER = "span-sender"
# The API server takes a token for a minute more than it lives.
TOKEN_SECONDS = "45"
ACCOUNTS = (COLLECTOR, "controller-manager")
MLFLOW_CR = "/apis/mlflow.opendatahub.io/v1/mlflows/mlflow"
# By default MLflow lets a token in for five minutes after it was last found to be good.
FORGETFUL = {"name": "MLFLOW_K8S_AUTH_CACHE_TTL_SECONDS", "value": "1"}
SIGNING_KEY = "/api/v1/namespaces/openshift-service-ca/secrets/signing-key"
RENEWED_AT = NAMES.token_annotation
CA_HASH = NAMES.ca_hash_annotation


async def test_no_span_is_lost_while_everything_rotates(stage: Stage):
    async with short_lives(stage), sender(stage):
        tokens = [await token_of(stage, workload) for workload in (COLLECTOR, OPERATOR)]
        for token in tokens:
            await wait_until_refused(stage, token)
        before = await collector_annotations(stage)
        # This collector reads the renewed token by itself.
        assert RENEWED_AT not in before

        await stage.api.delete(SIGNING_KEY)
        await wait_for_roll(stage, CA_HASH, before)
        retired = await serve_new_certificate(stage)
        await make_agent(stage, "late-agent")
    await expect_all_spans(stage)
    await stage.api.delete(retired)


# --- what is rotated ------------------------------------------------------------------------------------


@asynccontextmanager
async def short_lives(stage: Stage) -> AsyncGenerator[None]:
    """Tokens of the collector and the operator expire soon, and MLflow has every one checked every time."""
    try:
        await set_lives(stage, TOKEN_SECONDS, FORGETFUL)
        yield
    finally:
        await set_lives(stage, None, None)


async def set_lives(stage: Stage, seconds: str | None, variable: dict[str, str] | None) -> None:
    for account in ACCOUNTS:
        path = f"/api/v1/namespaces/{PLATFORM}/serviceaccounts/{account}"
        annotations = {"devcluster.kagenti.io/token-seconds": seconds}
        await stage.api.patch(path, {"metadata": {"annotations": annotations}})
    await stage.api.patch(MLFLOW_CR, {"spec": {"env": [variable] if variable else None}})
    for workload in (OPERATOR, COLLECTOR):
        await restart(stage, workload)

    async def settled() -> None:
        server = await read(stage, workload_path("deployments", MLFLOW_NAMESPACE, MLFLOW))
        if (FORGETFUL["name"] in environment(server)) != bool(variable):
            raise NotYet("its Deployment has the old environment")
        cr = await read(stage, MLFLOW_CR)
        available = next(c["status"] for c in cr["status"]["conditions"] if c["type"] == "Available")
        if not is_rolled_out(server) or available != "True":
            raise NotYet(f"Available is {available}")

    await stage.until("MLflow with its new environment", settled, seconds=120, hop=Hop.MLFLOW)


async def restart(stage: Stage, workload: str) -> None:
    """As a person does it."""
    for command in ("restart", "status"):
        process = await asyncio.create_subprocess_exec(
            binaries.find("kubectl"),
            *("rollout", command, f"deployment/{workload}", f"--namespace={PLATFORM}"),
            *(["--timeout=120s"] if command == "status" else []),
            env={**os.environ, "KUBECONFIG": str(stage.paths.kubeconfig)},
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
        )
        said, _ = await process.communicate()
        assert process.returncode == 0, said.decode()


async def serve_new_certificate(stage: Stage) -> str:
    """Have the collector deliver to an MLflow with a certificate of the new CA, and to no other.

    A second pod first, as MLflow's operator does it where the storage allows that. The path of the old one is
    returned, to be deleted when nobody uses it: a connection that ends under a request costs its spans.
    """
    server = workload_path("deployments", MLFLOW_NAMESPACE, MLFLOW)
    (old,) = await stage.api.list(f"/api/v1/namespaces/{MLFLOW_NAMESPACE}/pods", f"app={MLFLOW}")
    path = f"/api/v1/namespaces/{MLFLOW_NAMESPACE}/pods/{old['metadata']['name']}"

    async def both_serve() -> None:
        if (ready := (await read(stage, server))["status"].get("readyReplicas", 0)) != 2:
            raise NotYet(f"{ready} are ready")

    await stage.api.patch(MLFLOW_CR, {"spec": {"replicas": 2}})
    await stage.until("a second MLflow", both_serve, seconds=120, hop=Hop.MLFLOW)
    await stage.api.patch(path, {"metadata": {"labels": {"app": "retired"}}})
    # One that is not ready yet goes first, so that it is the one that takes the old one's place.
    await stage.api.patch(MLFLOW_CR, {"spec": {"replicas": None}})

    async def one_serves() -> None:
        slices = await stage.api.list(
            f"/apis/discovery.k8s.io/v1/namespaces/{MLFLOW_NAMESPACE}/endpointslices",
            "kubernetes.io/service-name=mlflow",
        )
        names = [e["targetRef"]["name"] for s in slices for e in s.get("endpoints") or ()]
        if old["metadata"]["name"] in names or len(names) != 1:
            raise NotYet(f"endpoints: {names}")

    await stage.until("the new MLflow alone", one_serves, seconds=60, hop=Hop.MLFLOW)
    await restart(stage, COLLECTOR)
    return path


# --- what follows it ------------------------------------------------------------------------------------


async def collector_annotations(stage: Stage) -> dict[str, str]:
    template = (await read(stage, workload_path("deployments", PLATFORM, COLLECTOR)))["spec"]["template"]
    return template["metadata"]["annotations"]


async def wait_for_roll(stage: Stage, annotation: str, before: dict[str, str]) -> None:
    """Return once the operator has changed the annotation and the collector is rolled out with it."""

    async def rolled() -> None:
        if (await collector_annotations(stage))[annotation] == before[annotation]:
            raise NotYet(f"{annotation} is as it was")
        if not is_rolled_out(await read(stage, workload_path("deployments", PLATFORM, COLLECTOR))):
            raise NotYet("the collector is rolling")

    await stage.until(f"new {annotation}", rolled, seconds=120, hop=Hop.CONFIGURATION)


async def make_agent(stage: Stage, name: str) -> None:
    """The operator asks MLflow for an experiment: with its new token, and believing the new CA."""
    labels = {"app": name, "kagenti.io/type": "agent"}
    template = {"metadata": {"labels": labels}, "spec": {"containers": [{"name": "agent", "image": "none"}]}}
    deployment = {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": name, "namespace": TEAM, "labels": labels},
        "spec": {"replicas": 0, "selector": {"matchLabels": {"app": name}}, "template": template},
    }
    await stage.apply(deployment)

    async def configured() -> None:
        if "MLFLOW_EXPERIMENT_ID" not in environment(
            await read(stage, workload_path("deployments", TEAM, name))
        ):
            raise NotYet("it has no experiment")

    await stage.until(f"experiment of {name}", configured, seconds=60, hop=Hop.OPERATOR)
    await stage.api.delete(workload_path("deployments", TEAM, name))


async def wait_until_refused(stage: Stage, token: str) -> None:
    mlflow = await stage.mlflow()

    async def refused() -> None:
        parameters = {"experiment_name": NAMES.default_experiment}
        path = "/api/2.0/mlflow/experiments/get-by-name"
        answer = await mlflow.request("GET", path, TEAM, params=parameters, token=token)
        if answer.status != 401:
            raise NotYet(f"MLflow answers {answer.status}")

    await stage.until("the end of a token", refused, seconds=180, hop=Hop.AUTHORIZATION)


# --- the client -----------------------------------------------------------------------------------------


@asynccontextmanager
async def sender(stage: Stage) -> AsyncGenerator[None]:
    """A pod that sends; at the end it has sent everything."""
    meta = {"name": SENDER, "namespace": TEAM}
    code = Path(__file__).with_name("span_sender.py").read_text()
    container = {
        "name": SENDER,
        "image": "kagenti/weather-agent",
        "command": ["python", "/app/span_sender.py"],
        "env": [
            {
                "name": "OTEL_EXPORTER_OTLP_ENDPOINT",
                "value": f"http://otel-collector.{PLATFORM}.svc:8335",
            },
            {"name": "OTEL_BSP_SCHEDULE_DELAY", "value": "200"},
        ],
        "volumeMounts": [{"name": "code", "mountPath": "/app"}],
    }
    volumes = [{"name": "code", "configMap": {"name": SENDER}}]
    pod = {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": meta,
        "spec": {"containers": [container], "volumes": volumes},
    }
    config_map = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": meta, "data": {"span_sender.py": code}}
    await stage.apply(config_map, pod)

    async def sends() -> None:
        if not sent(stage):
            raise NotYet("it has not begun")

    async def ended() -> None:
        if await stage.api.get(path) is not None:
            raise NotYet("it is still there")

    path = f"/api/v1/namespaces/{TEAM}/pods/{SENDER}"
    try:
        await stage.until("the first span", sends, seconds=60, hop=Hop.AGENT)
        yield
    finally:
        await stage.api.delete(path)
        await stage.until("the end of the sender", ended, seconds=60, hop=Hop.AGENT)


def sent(stage: Stage) -> list[str]:
    log = stage.paths.container_log(TEAM, SENDER, SENDER)
    lines = log.read_text().splitlines() if log.exists() else []
    return [f"tr-{line.removeprefix('trace ')}" for line in lines if line.startswith("trace ")]


async def expect_all_spans(stage: Stage) -> None:
    wanted = set(sent(stage))
    # It has outlived the first tokens.
    assert len(wanted) > int(TOKEN_SECONDS)

    async def found() -> None:
        missing = wanted - await trace_ids(stage)
        if missing:
            raise NotYet(f"{len(missing)} of {len(wanted)} are not there")

    await stage.until(
        "all spans in MLflow", found, seconds=60, hop=Hop.DELIVERY, evidence=(PLATFORM, COLLECTOR)
    )


async def trace_ids(stage: Stage) -> set[str]:
    """All traces of the collector's experiment."""
    mlflow = await stage.mlflow()
    experiment = {"experiment_id": await find_experiment(stage)}
    content: dict[str, Any] = {
        "locations": [{"type": "MLFLOW_EXPERIMENT", "mlflow_experiment": experiment}],
        "max_results": 100,
    }
    ids: set[str] = set()
    while True:
        answer = await mlflow.request("POST", "/api/3.0/mlflow/traces/search", TEAM, content=content)
        page = answer.json()
        ids |= {trace["trace_id"] for trace in page.get("traces", [])}
        content["page_token"] = page.get("next_page_token")
        if not content["page_token"]:
            return ids


async def token_of(stage: Stage, workload: str) -> str:
    """The token that a pod of a workload has now, read where the node keeps it."""

    async def mounted() -> str:
        for pod in await stage.api.list(f"/api/v1/namespaces/{PLATFORM}/pods"):
            folder = stage.paths.pods / pod["metadata"]["uid"] / "volumes"
            for path in folder.glob("kube-api-access-*/token"):
                if pod["metadata"]["name"].startswith(workload):
                    return path.read_text()
        raise NotYet("no pod has one")

    return await stage.until(f"a token of {workload}", mounted, seconds=60, hop=Hop.CLUSTER)
