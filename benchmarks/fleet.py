"""Fleets of agents: Deployments without replicas, so that nothing rolls, of the size that real ones have."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from benchmarks.testbed import Bed, in_parallel
from kagenti_operator.contract import KAGENTI
from kagenti_operator.controllers.agents.access import Grantee, build_access
from kagenti_operator.controllers.agents.injection import Injection
from kagenti_operator.controllers.agents.keys import AgentKey
from kagenti_operator.kube.resources import AGENT_DEPLOYMENTS, ROLE_BINDINGS, ROLES
from kagenti_operator.mlflow.client import Experiment


@dataclass(frozen=True)
class Size:
    """Namespaces, and agents in each."""

    namespaces: int
    agents: int

    def __str__(self) -> str:
        return f"{self.namespaces:,}x{self.agents}"

    def names(self) -> list[str]:
        return [f"team-{number:04}" for number in range(self.namespaces)]

    def keys(self) -> list[tuple[str, str]]:
        """Namespace and name of every agent."""
        return [(team, f"agent-{number:04}") for team in self.names() for number in range(self.agents)]


def build_agent(namespace: str, name: str, injection: Injection | None = None) -> dict[str, Any]:
    """An agent's Deployment; with `injection` as an earlier operator process has left it."""
    env = [
        {"name": "LLM_API_BASE", "value": "http://llm.models.svc:8000/v1"},
        {"name": "LLM_MODEL", "value": "granite-3.3-8b-instruct"},
        {"name": "OTEL_EXPORTER_OTLP_ENDPOINT", "value": "http://otel-collector.kagenti-system.svc:8335"},
        {"name": "OTEL_SERVICE_NAME", "value": name},
    ]
    annotations: dict[str, str] = {}
    if injection:
        env += [{"name": key, "value": value} for key, value in injection.environment().items()]
        annotations = dict(injection.annotations(KAGENTI))
    probe = {"httpGet": {"path": "/healthz", "port": 8000}, "periodSeconds": 10}
    container = {
        "name": "agent",
        "image": f"registry.example.org/agents/{name}:1.0.0",
        "env": env,
        "ports": [{"containerPort": 8000, "name": "http"}],
        "readinessProbe": probe,
        "livenessProbe": probe,
        "resources": {"requests": {"cpu": "100m", "memory": "256Mi"}, "limits": {"memory": "512Mi"}},
        "volumeMounts": [{"name": "cache", "mountPath": "/app/.cache"}],
    }
    labels = {
        "app.kubernetes.io/name": name,
        "app.kubernetes.io/part-of": "agents",
        "kagenti.io/type": "agent",
        "protocol.kagenti.io/a2a": "",
    }
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": name, "namespace": namespace, "labels": labels},
        "spec": {
            "replicas": 0,
            "selector": {"matchLabels": {"app.kubernetes.io/name": name}},
            "template": {
                "metadata": {"labels": labels, "annotations": annotations},
                "spec": {"containers": [container], "volumes": [{"name": "cache", "emptyDir": {}}]},
            },
        },
    }


async def make_namespaces(bed: Bed, names: Iterable[str]) -> None:
    async def make(name: str) -> None:
        body = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}}
        await bed.platform.request("POST", "/api/v1/namespaces", body)

    await in_parallel(make, names)


async def make_agent(bed: Bed, key: tuple[str, str]) -> None:
    await bed.admin.create(AGENT_DEPLOYMENTS, build_agent(*key))


async def make_fleet(bed: Bed, size: Size) -> None:
    await make_namespaces(bed, size.names())

    async def make(key: tuple[str, str]) -> None:
        await make_agent(bed, key)

    await in_parallel(make, size.keys())


async def make_configured_fleet(bed: Bed, size: Size, tracking_uri: str) -> None:
    """A fleet in which every agent has all of section 2.6 already: environment, Role and RoleBinding."""
    await make_namespaces(bed, size.names())
    numbers = {key: number for number, key in enumerate(size.keys(), 1)}

    async def make(key: tuple[str, str]) -> None:
        namespace, name = key
        injection = Injection(
            tracking_uri=tracking_uri,
            experiment_id=str(numbers[key]),
            experiment_name=name,
            workspace=namespace,
        )
        agent = await bed.admin.create(AGENT_DEPLOYMENTS, build_agent(namespace, name, injection))
        grantee = Grantee(key=AgentKey(AGENT_DEPLOYMENTS.kind, *key), resource=AGENT_DEPLOYMENTS, agent=agent)
        # With the id, or else the operator would know nothing of the fleet and ask MLflow about all of it.
        experiment = Experiment(id=injection.experiment_id, name=name, creation_time=numbers[key])
        role, binding = build_access(KAGENTI, grantee.key, (name,), (grantee,), experiment=experiment)
        await bed.admin.apply(ROLES, role)
        await bed.admin.apply(ROLE_BINDINGS, binding)

    await in_parallel(make, size.keys())
