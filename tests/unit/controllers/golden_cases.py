"""Everything that is written, as it is sent, in `golden/*.yaml`: one case for each file."""

from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import msgspec
import yaml

from kagenti_operator.contract import KAGENTI
from kagenti_operator.controllers.agents.access import build_access
from kagenti_operator.controllers.agents.injection import build_release, build_removal, plan_injection
from kagenti_operator.controllers.collector.access import build_binding
from kagenti_operator.controllers.collector.ingress_ca import build_ingress_ca
from kagenti_operator.controllers.collector.rollout import annotate, build_rollout
from kagenti_operator.controllers.collector.wanted import build_collector_config
from kagenti_operator.controllers.mlflow.console_link import build_link
from kagenti_operator.controllers.mlflow.operand import build_operand
from kagenti_operator.kube.manifests import Manifest
from kagenti_operator.kube.objects.agents import AgentSandbox
from kagenti_operator.kube.objects.models import KubeObject, ObjectMeta
from kagenti_operator.kube.objects.workloads import Workload, WorkloadMeta
from kagenti_operator.kube.resources import AGENT_DEPLOYMENTS, AGENT_SANDBOXES

from .agents.workloads import EXPERIMENT, INJECTION, KEY, build_agent, environment, grantee

GOLDEN = Path(__file__).parent / "golden"

CHART_ROLE = KubeObject(metadata=ObjectMeta(name="kagenti-controller-manager", uid="r1"))
LINK_ROLE = KubeObject(metadata=ObjectMeta(name="kagenti-controller-manager-console-link", uid="r2"))
OPERATOR = Workload(
    metadata=WorkloadMeta(name="kagenti-controller-manager", namespace="kagenti-system", uid="d1")
)
COLLECTOR = Workload(metadata=WorkloadMeta(name="otel-collector", namespace="kagenti-system", uid="d2"))
SANDBOX = msgspec.convert(
    {
        "metadata": {"name": "weather", "namespace": "team1", "uid": "u3", "resourceVersion": "5"},
        "spec": {"podTemplate": {"spec": {"containers": [{"name": "agent"}]}}},
    },
    AgentSandbox,
)


# --- of which the owner is known, or not ------------------------------------------------------------------


def build_collector_binding(*, owned: bool) -> Manifest:
    role, owner = "mlflow-operator-mlflow-integration", CHART_ROLE if owned else None
    return build_binding(KAGENTI, "team1", role, account=("kagenti-system", "telemetry"), owner=owner)


def build_config(*, owned: bool) -> Manifest:
    text = "receivers:\n  otlp: {}\n"
    return build_collector_config(KAGENTI, "kagenti-system", text, OPERATOR if owned else None)


def build_ca(*, owned: bool) -> Manifest:
    return build_ingress_ca(KAGENTI, "kagenti-system", "INGRESS\nROOT\n", OPERATOR if owned else None)


def build_console_link(*, owned: bool) -> Manifest:
    return build_link(KAGENTI, "https://mlflow.example.com/mlflow/", LINK_ROLE if owned else None)


OWNED = (build_collector_binding, build_config, build_ca, build_console_link)


# --- agents ------------------------------------------------------------------------------------------------


def build_grant() -> tuple[Manifest, Manifest]:
    """Of a Deployment, and of a StatefulSet of the same name."""
    twin = build_agent(uid="u2", service_account="weather-sa")
    grantees = (grantee(build_agent()), grantee(twin, KEY._replace(kind="StatefulSet")))
    experiments = ("renamed", "weather")
    return build_access(KAGENTI, KEY, experiments, grantees, experiment=EXPERIMENT, mlflow_uid="m1")


def build_injection() -> Manifest | None:
    theirs = {"name": "own", "env": [{"name": "MLFLOW_EXPERIMENT_NAME", "value": "mine"}]}
    agent = build_agent({"name": "agent"}, theirs)
    return plan_injection(KAGENTI, agent, AGENT_DEPLOYMENTS, INJECTION).body


def build_removal_of_all() -> list[Mapping[str, Any]]:
    template = {
        "metadata": {"annotations": {"note": "x", **INJECTION.annotations(KAGENTI)}},
        "spec": {"containers": [{"name": "proxy"}, {"name": "agent", "env": environment()}]},
    }
    workload = {"metadata": {"resourceVersion": "5"}, "spec": {"template": template}}
    return build_removal(KAGENTI, workload, AGENT_DEPLOYMENTS, INJECTION)


# --- the collector -----------------------------------------------------------------------------------------


def build_collector_rollout() -> Manifest:
    hashes = {KAGENTI.config_hash_annotation: "c", KAGENTI.ca_hash_annotation: "a"}
    now = datetime(2026, 11, 24, 12, tzinfo=UTC)
    return build_rollout(COLLECTOR, annotate({}, hashes, KAGENTI.token_annotation, 3600.0, now))


CASES: Mapping[str, Callable[[], object]] = {
    "agent-injection": build_injection,
    "agent-injection-sandbox": lambda: plan_injection(KAGENTI, SANDBOX, AGENT_SANDBOXES, INJECTION).body,
    "agent-release": lambda: build_release(build_agent(), AGENT_DEPLOYMENTS),
    "agent-removal": build_removal_of_all,
    "agent-role": lambda: build_grant()[0],
    "agent-role-binding": lambda: build_grant()[1],
    "collector-binding": lambda: build_collector_binding(owned=True),
    "collector-config": lambda: build_config(owned=True),
    "collector-rollout": build_collector_rollout,
    "console-link": lambda: build_console_link(owned=True),
    "ingress-ca": lambda: build_ca(owned=True),
    "operand": lambda: build_operand(KAGENTI, namespaced=False),
    "operand-namespaced": lambda: build_operand(KAGENTI, namespaced=True),
}


def render(written: object) -> str:
    """As YAML, by way of the JSON that goes over the wire."""
    return yaml.safe_dump(msgspec.json.decode(msgspec.json.encode(written)), sort_keys=False)
