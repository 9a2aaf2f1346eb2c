"""Agents as the caches have them."""

from collections.abc import Mapping, Sequence
from typing import Any

import msgspec

from kagenti_operator.controllers.agents.access import Grantee
from kagenti_operator.controllers.agents.injection import Injection
from kagenti_operator.controllers.agents.keys import KINDS, AgentKey
from kagenti_operator.kube.objects.agents import Agent, AgentWorkload
from kagenti_operator.mlflow.client import Experiment

KEY = AgentKey("Deployment", "team1", "weather")
EXPERIMENT = Experiment(id="7", name="weather", creation_time=1_700_000_000_000)
INJECTION = Injection(
    tracking_uri="https://mlflow.example/mlflow",
    experiment_id="7",
    experiment_name="weather",
    workspace="team1",
)


def build_agent(
    *containers: Mapping[str, Any],
    annotations: Mapping[str, str] | None = None,
    inject: str | None = None,
    pod_inject: str | None = None,
    service_account: str | None = None,
    uid: str = "u1",
    deleted: bool = False,
) -> AgentWorkload:
    """A Deployment or StatefulSet; `annotations` are its pod template's."""
    metadata: dict[str, Any] = {"name": "weather", "namespace": "team1", "uid": uid, "resourceVersion": "5"}
    if inject is not None:
        metadata["annotations"] = {"mlflow.kagenti.io/inject": inject}
    if deleted:
        metadata["deletionTimestamp"] = "2026-01-01T00:00:00Z"
    spec: dict[str, Any] = {"containers": containers or ({"name": "agent"},)}
    if service_account:
        spec["serviceAccountName"] = service_account
    on_template = dict(annotations or {})
    if pod_inject is not None:
        on_template["mlflow.kagenti.io/inject"] = pod_inject
    template = {"metadata": {"annotations": on_template}, "spec": spec}
    return msgspec.convert({"metadata": metadata, "spec": {"template": template}}, AgentWorkload)


def environment(injection: Injection = INJECTION) -> Sequence[Mapping[str, str]]:
    return [{"name": name, "value": value} for name, value in injection.environment().items()]


def grantee(agent: Agent, key: AgentKey = KEY) -> Grantee:
    return Grantee(key=key, resource=KINDS[key.kind], agent=agent)


def grantees_of(agent: Agent | None, twin: Agent | None, *, served: bool) -> tuple[Grantee, ...]:
    """Who shares the Role of KEY: the agent as far as it is served, and a StatefulSet of its name."""
    own = (grantee(agent),) if agent and served and not agent.metadata.deletion_timestamp else ()
    return own + ((grantee(twin, KEY._replace(kind="StatefulSet")),) if twin else ())
