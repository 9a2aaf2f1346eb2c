"""Binds pods to the one node: every pod that its labels satisfy."""

import asyncio
import json
from collections.abc import Mapping
from typing import Any

import structlog

from kagenti_devcluster.node.models import PODS, Pod
from kagenti_devcluster.node.state import to_time
from kagenti_operator import clock
from kagenti_operator.kube.client import KubeClient
from kagenti_operator.kube.errors import ApiError, KubeError
from kagenti_operator.runtime.cache.informer import Informer

log = structlog.get_logger(__name__)

_RETRY_SECONDS = 1.0


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

    def __init__(self, client: KubeClient, pods: Informer[Pod], *, node: str, labels: Mapping[str, str]):
        self._client = client
        self._pods = pods
        self._node = node
        self._labels = labels
        self._waiting: dict[tuple[str, str], None] = {}
        self._wake = asyncio.Event()
        pods.subscribe(self._on_pod)

    def _on_pod(self, _: Pod | None, new: Pod | None) -> None:
        if new is not None and is_waiting(new):
            self._waiting[new.metadata.namespace, new.metadata.name] = None
            self._wake.set()

    async def run(self) -> None:
        """Bind pods until cancelled."""
        while True:
            await self._wake.wait()
            self._wake.clear()
            while self._waiting:
                key = next(iter(self._waiting))
                del self._waiting[key]
                pod = self._pods.store.get(*key)
                if pod is not None and is_waiting(pod):
                    await self._place(pod)

    async def _place(self, pod: Pod) -> None:
        try:
            if problem := find_mismatch(pod, self._labels):
                await self._refuse(pod, problem)
            else:
                await self._bind(pod)
        except ApiError as error:
            # Deleted, replaced or bound meanwhile: its event tells what is next.
            if not (error.not_found or error.conflict):
                await self._try_again(pod, error)
        except KubeError as error:
            await self._try_again(pod, error)

    async def _try_again(self, pod: Pod, error: KubeError) -> None:
        log.warning("A pod could not be bound, will try again", error=str(error))
        await asyncio.sleep(_RETRY_SECONDS)
        self._waiting[pod.metadata.namespace, pod.metadata.name] = None
        self._wake.set()

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
