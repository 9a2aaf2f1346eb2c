"""What the mock API server lists: agents with their grants as templates, and the platform's few objects."""

import json
from collections.abc import Mapping
from typing import Any, ClassVar, cast

import msgspec

from benchmarks.fleet import build_agent
from kagenti_devcluster.testing.platform import INTEGRATION
from kagenti_operator import contract
from kagenti_operator.contract import KAGENTI
from kagenti_operator.controllers.agents.access import Grantee, build_access
from kagenti_operator.controllers.agents.injection import Injection
from kagenti_operator.controllers.agents.keys import AgentKey
from kagenti_operator.kube.objects.agents import AgentWorkload
from kagenti_operator.kube.resources import AGENT_DEPLOYMENTS
from kagenti_operator.mlflow.client import Experiment

# Where nobody listens, as for the fleets on a real API server.
TRACKING_URI = "https://mlflow.redhat-ods-applications.svc:8443"
# Takes the place of a number in what is built, as `%(...)s` takes that of a text.
_TIME = 1_234_567_890_123


class Template:
    """An object of each agent, as JSON in which the agent is filled in."""

    agents_selector: ClassVar[str] = KAGENTI.agent_selector

    def __init__(self, obj: Mapping[str, Any]) -> None:
        metadata = {
            **obj["metadata"],
            "uid": "%(uid)s",
            "resourceVersion": "%(number)s",
            "creationTimestamp": "2026-01-01T00:00:00Z",
            "managedFields": [
                {
                    "manager": "kagenti-operator",
                    "operation": "Apply",
                    "apiVersion": obj["apiVersion"],
                    "time": "2026-01-01T00:00:00Z",
                    "fieldsType": "FieldsV1",
                    "fieldsV1": _build_fields(msgspec.to_builtins(obj)),
                }
            ],
        }
        self._text = json.dumps({**obj, "metadata": metadata}).replace(str(_TIME), "%(time)s")

    def render(self, number: int, namespace: str, name: str) -> str:
        return self._text % {
            "number": number,
            "namespace": namespace,
            "name": name,
            "uid": f"6f1c5f0e-0000-4000-8000-{number:012}",
            "time": 1_700_000_000_000 + number,
        }


def _build_fields(obj: Any) -> dict[str, Any]:
    """Managed fields of an object, of which the operator reads nothing."""
    match obj:
        case dict():
            return {f"f:{key}": _build_fields(value) for key, value in cast("dict[str, Any]", obj).items()}
        case list():
            return {f"k:{number}": _build_fields(it) for number, it in enumerate(cast("list[Any]", obj))}
        case _:
            return {}


def _build_templates() -> tuple[Template, Template, Template]:
    injection = Injection(
        tracking_uri=TRACKING_URI,
        experiment_id="%(number)s",
        experiment_name="%(name)s",
        workspace="%(namespace)s",
    )
    deployment = build_agent("%(namespace)s", "%(name)s", injection)
    deployment["metadata"] |= {"generation": 2, "uid": "%(uid)s"}
    deployment["status"] = {"observedGeneration": 2, "conditions": [{"type": "Available", "status": "True"}]}
    key = AgentKey(AGENT_DEPLOYMENTS.kind, "%(namespace)s", "%(name)s")
    agent = msgspec.convert(deployment, AgentWorkload)
    role, binding = build_access(
        KAGENTI,
        key,
        (key.name,),
        (Grantee(key=key, resource=AGENT_DEPLOYMENTS, agent=agent),),
        experiment=Experiment(id="%(number)s", name=key.name, creation_time=_TIME),
    )
    return Template(deployment), Template(role), Template(binding)


_DEPLOYMENT, _ROLE, _BINDING = _build_templates()
_OURS = f"{contract.MANAGED_BY_LABEL}={KAGENTI.manager}"
# By plural and selector.
LISTS: Mapping[tuple[str, str], Template] = {
    ("deployments", KAGENTI.agent_selector): _DEPLOYMENT,
    ("roles", _OURS): _ROLE,
    # All of them: the operator keeps those of agents.
    ("rolebindings", ""): _BINDING,
}


def _named(name: str, **content: Any) -> str:
    metadata = {"name": name, "uid": name, "resourceVersion": "1"}
    return json.dumps({"metadata": {**metadata, **content.pop("metadata", {})}, **content})


# By plural and field selector.
FIXED: Mapping[tuple[str, str], str] = {
    ("clusterroles", f"metadata.name={INTEGRATION}"): _named(INTEGRATION),
    ("datascienceclusters", ""): _named(
        "default-dsc", spec={"components": {"mlflowoperator": {"managementState": "Managed"}}}
    ),
    ("mlflows", ""): _named(
        contract.MLFLOW,
        status={
            "conditions": [
                {"type": "Available", "status": "True", "lastTransitionTime": "2026-01-01T00:00:00Z"}
            ],
            "address": {"url": TRACKING_URI},
        },
    ),
    ("endpointslices", ""): _named(
        contract.MLFLOW,
        metadata={"namespace": contract.MLFLOW_NAMESPACE},
        endpoints=[{"conditions": {"ready": True}}],
    ),
}
