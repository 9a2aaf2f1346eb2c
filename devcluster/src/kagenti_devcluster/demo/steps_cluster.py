"""The cluster is up, and what the operator's users bring along is there: namespace, secret, model."""

import base64
from collections.abc import Mapping
from importlib import resources

from kagenti_devcluster.cluster.kubectl import read_manifests
from kagenti_devcluster.demo.bring_up import bring_up
from kagenti_devcluster.demo.failures import Hop, StepFailed
from kagenti_devcluster.demo.next_steps import shorten_path
from kagenti_devcluster.demo.report import Outcome
from kagenti_devcluster.demo.stage import COLLECTOR, TEAM, Stage
from kagenti_devcluster.demo.waiting import NotYet
from kagenti_devcluster.host import launcher
from kagenti_devcluster.host.paths import directory_option
from kagenti_devcluster.host.status import Status, read_status
from kagenti_operator.contract import COLLECTOR_BINDING, INTEGRATION_ROLE
from kagenti_operator.kube.resources import RBAC

SECRET = "llama-stack-inference-model-secret"
SECRET_KEYS = ("INFERENCE_MODEL", "VLLM_URL", "VLLM_TLS_VERIFY", "VLLM_API_TOKEN")
# Which version of the secret the agent's pods have read: they get it as variables, once.
SECRET_VERSION = "devcluster.kagenti.io/model-secret-version"
_SECRET_PATH = f"/api/v1/namespaces/{TEAM}/secrets/{SECRET}"
_READY_SECONDS = 300.0


async def start(stage: Stage) -> Outcome:
    """Start a cluster, or take the one that runs."""
    if launcher.find_daemon(stage.paths) is None:
        status = await bring_up(stage)
        summary = "started"
    else:
        status = await stage.until(
            "the running cluster", lambda: _ready(stage), seconds=_READY_SECONDS, hop=Hop.CLUSTER
        )
        summary = f"running already, since {status.started_at}"
    if status.profile != stage.options.profile:
        where = directory_option(stage.paths.root, stage.environ)
        raise StepFailed(
            Hop.CLUSTER,
            f"the cluster that runs looks like {status.profile}, not like {stage.options.profile}",
            advice=f"kagenti-devcluster down{where}, and the demo again",
        )
    stage.addresses = status.addresses
    await stage.connect()
    return Outcome(f"{summary}, in {shorten_path(stage.paths.root, stage.environ)}", status.steps)


async def _ready(stage: Stage) -> Status:
    status = read_status(stage.paths.status)
    if status is None or status.phase != "ready":
        raise NotYet("it is not ready")
    return status


async def make_team(stage: Stage) -> None:
    """The namespace of agents, and who may read and write there. Raises DevClusterError."""
    await stage.apply(*read_manifests(resources.files(__package__) / "team1.yaml"))
    if not stage.profile.openshift:
        await stage.apply(build_collector_binding(stage.system))


async def prepare_team(stage: Stage) -> Outcome:
    """Namespace, secret with the model's address, a model where the user names none, and the agent.

    The agent comes before MLflow does: the collector is granted access where agents live.
    """
    await make_team(stage)
    given = choose_model(stage.environ)
    if given is None:
        # It brings the secret along.
        await stage.apply_example("stand-in-model")
        model = "its model: a stand-in (set INFERENCE_MODEL and VLLM_URL for a real one)"
    else:
        stage.stand_in = False
        await stage.apply(build_secret(given))
        model = f"its model: {given['INFERENCE_MODEL']} at {given['VLLM_URL']}"
    # Applying what is there already makes no new version: then nothing is rolled.
    secret = await stage.api.get(_SECRET_PATH)
    if secret is None:
        raise StepFailed(
            Hop.AGENT, f"secret {SECRET} of {TEAM} was deleted while the demo runs", advice="the demo again"
        )
    stage.model = base64.b64decode(secret["data"]["INFERENCE_MODEL"]).decode()
    version = {SECRET_VERSION: secret["metadata"]["resourceVersion"]}
    await stage.apply_example("weather-agent", template_annotations=version)
    return Outcome("namespace, secret and agent are deployed", (model,))


def build_collector_binding(system: str) -> dict[str, object]:
    """What a person grants the collector where no DataScienceCluster says that MLflow is managed."""
    role = {"apiGroup": RBAC, "kind": "ClusterRole", "name": INTEGRATION_ROLE}
    return {
        "apiVersion": f"{RBAC}/v1",
        "kind": "RoleBinding",
        "metadata": {"name": COLLECTOR_BINDING, "namespace": TEAM},
        "roleRef": role,
        "subjects": [{"kind": "ServiceAccount", "name": COLLECTOR, "namespace": system}],
    }


def choose_model(environ: Mapping[str, str]) -> dict[str, str] | None:
    """The user's model by environment variables, None without any. Raises StepFailed for half of one."""
    given = {key: environ[key] for key in SECRET_KEYS if environ.get(key)}
    if not {"INFERENCE_MODEL", "VLLM_URL"} & given.keys():
        return None
    for key in ("INFERENCE_MODEL", "VLLM_URL"):
        if key not in given:
            raise StepFailed(Hop.AGENT, f"{key} is not set, but a model needs INFERENCE_MODEL and VLLM_URL")
    return {"VLLM_TLS_VERIFY": "true", "VLLM_API_TOKEN": "", **given}


def build_secret(values: Mapping[str, str]) -> dict[str, object]:
    """The secret that the agent reads its model from."""
    data = {key: base64.b64encode(value.encode()).decode() for key, value in values.items()}
    return {
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": {"name": SECRET, "namespace": TEAM},
        "data": data,
    }
