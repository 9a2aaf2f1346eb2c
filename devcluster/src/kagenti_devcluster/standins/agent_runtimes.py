"""Stand-in for the part of the platform's operator that labels agents: by AgentRuntime, which people make.

As there, the workload and its pod template get the label in one write, which rolls it once, and lose it with
the AgentRuntime. Policy `agent-label-protection` refuses anybody else's.
"""

import random
from functools import partial
from pathlib import Path
from typing import Any

import msgspec
import structlog
import yaml

from kagenti_devcluster.standins.resources import LABELLED_WORKLOADS, AgentRuntime, agent_runtimes
from kagenti_operator.contract import Names
from kagenti_operator.kube.auth.credentials import load_connection
from kagenti_operator.kube.client import KubeClient
from kagenti_operator.kube.errors import ApiError
from kagenti_operator.kube.objects.models import LabelledObject
from kagenti_operator.runtime.cache.informer import Informer
from kagenti_operator.runtime.cache.object_cache import Event, Selection
from kagenti_operator.runtime.control.controller import build_controller
from kagenti_operator.runtime.telemetry.metrics import Metrics

log = structlog.get_logger(__name__)

ACCOUNT = "agent-runtimes"

# Kind, namespace and name of a workload.
type Target = tuple[str, str, str]


def act_as_operator(kubeconfig: Path, names: Names) -> KubeClient:
    """A client that acts for the platform's operator, which the policy lets label agents."""
    document = yaml.safe_load(kubeconfig.read_text())
    user = document["users"][0]["user"]
    user["as"] = f"system:serviceaccount:{names.namespace}:{ACCOUNT}"
    user["as-groups"] = ["system:masters"]
    acting = kubeconfig.with_name(f"{kubeconfig.name}-{ACCOUNT}")
    acting.touch(mode=0o600)
    acting.write_bytes(msgspec.json.encode(document))
    return KubeClient(
        load_connection({"KUBECONFIG": str(acting)}), field_manager=f"{names.prefix}-agent-runtimes"
    )


class AgentRuntimes:
    """One key per workload: its label is what an AgentRuntime says it is, and none without one."""

    def __init__(self, client: KubeClient, names: Names, *, rng: random.Random, metrics: Metrics) -> None:
        self._client = client
        self._label = f"{names.domain}/type"
        self._runtimes = Informer(client, Selection(resource=agent_runtimes(names)), rng)
        self._workloads = {
            resource.kind: Informer(client, Selection(resource=resource), rng)
            for resource in LABELLED_WORKLOADS
        }
        self.informers: tuple[Informer[Any], ...] = (self._runtimes, *self._workloads.values())
        controller = build_controller("agent-runtimes", self._reconcile, metrics, rng)
        controller.watches(self._runtimes, lambda event: (_target_of(event.object),))
        for kind, workloads in self._workloads.items():
            controller.watches(workloads, partial(_key_of_workload, kind))
        self.controllers = (controller,)

    async def _reconcile(self, key: Target) -> None:
        kind, namespace, name = key
        workloads = self._workloads.get(kind)
        workload = workloads.cache.get(namespace, name) if workloads else None
        if workloads is None or workload is None:
            return
        wanted = next((r.spec.type for r in self._runtimes.cache.values() if _target_of(r) == key), None)
        if workload.metadata.labels.get(self._label) == wanted:
            return
        labels = {"metadata": {"labels": {self._label: wanted}}}
        try:
            await self._client.merge_patch(
                workloads.resource, name, {**labels, "spec": {"template": labels}}, namespace
            )
        except ApiError as error:
            if not error.not_found:
                raise
        log.info("Labelled a workload", kind=kind, namespace=namespace, name=name, type=wanted)


def _target_of(runtime: AgentRuntime) -> Target:
    target = runtime.spec.target_ref
    return target.kind, runtime.metadata.namespace, target.name


def _key_of_workload(kind: str, event: Event[LabelledObject]) -> tuple[Target]:
    metadata = event.object.metadata
    return ((kind, metadata.namespace, metadata.name),)
