"""Binds pods to the one node: every pod that its labels satisfy."""

import json
import random
from collections.abc import Mapping
from typing import Any

from kagenti_devcluster.node.models import PODS, Pod
from kagenti_devcluster.node.state import to_time
from kagenti_operator import clock
from kagenti_operator.kube.client import KubeClient
from kagenti_operator.kube.errors import ApiError
from kagenti_operator.runtime.cache.informer import Informer
from kagenti_operator.runtime.cache.object_cache import ObjectKey, key_of
from kagenti_operator.runtime.control.controller import build_controller
from kagenti_operator.runtime.telemetry.metrics import Metrics


def find_mismatch(pod: Pod, labels: Mapping[str, str]) -> str:
    """Why the node does not suit a pod; empty when it does. Pure."""
    wrong = [f"{k}={v}" for k, v in (pod.spec.node_selector or {}).items() if labels.get(k) != v]
    return f"the cluster's only node does not have the labels {', '.join(wrong)}" if wrong else ""


def is_waiting(pod: Pod) -> bool:
    """Whether a pod is to be bound."""
    gated = bool(pod.spec.scheduling_gates)
    return not pod.spec.node_name and not pod.metadata.deletion_timestamp and not gated


class Scheduler:
    """Binds what waits, one pod after the other."""

    def __init__(
        self,
        client: KubeClient,
        pods: Informer[Pod],
        *,
        node: str,
        labels: Mapping[str, str],
        metrics: Metrics,
        rng: random.Random,
    ) -> None:
        self._client = client
        self._pods = pods
        self._node = node
        self._labels = labels
        self.controller = build_controller("scheduler", self._reconcile, metrics, rng)
        self.controller.watches(
            pods, lambda event: (key_of(event.object),) if is_waiting(event.object) else ()
        )

    async def _reconcile(self, key: ObjectKey) -> None:
        pod = self._pods.cache.get(*key)
        if pod is None or not is_waiting(pod):
            return
        try:
            if problem := find_mismatch(pod, self._labels):
                await self._refuse(pod, problem)
            else:
                await self._bind(pod)
        except ApiError as error:
            # Deleted, replaced or bound meanwhile: its event brings it back.
            if not (error.not_found or error.conflict):
                raise

    async def _bind(self, pod: Pod) -> None:
        metadata = pod.metadata
        binding = {
            "apiVersion": "v1",
            "kind": "Binding",
            "metadata": {"name": metadata.name, "namespace": metadata.namespace, "uid": metadata.uid},
            "target": {"kind": "Node", "name": self._node},
        }
        path = PODS.path(metadata.namespace, metadata.name, "binding")
        await self._client.raw("POST", path, body=json.dumps(binding).encode())

    async def _refuse(self, pod: Pod, problem: str) -> None:
        if any(c.type == "PodScheduled" and c.message == problem for c in pod.status.conditions or ()):
            return
        condition: dict[str, Any] = {
            "type": "PodScheduled",
            "status": "False",
            "reason": "Unschedulable",
            "message": problem,
            "lastTransitionTime": to_time(clock.now()),
        }
        status = {"conditions": [condition]}
        await self._client.patch_status(PODS, pod.metadata.name, status, pod.metadata.namespace)
