"""The workload that a pod belongs to, as its owner and its names say."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from kagenti_operator.controllers.authbridge.inputs import Pod
from kagenti_operator.controllers.authbridge.pod import list_at, mapping_at

SANDBOX_GROUP = "agents.x-k8s.io"
_HASH_LABEL = "pod-template-hash"
# Kubernetes makes hashes of these letters, and practically never short ones: no word looks like one.
_HASH = re.compile(r"[bcdfghjklmnpqrstvwxz2456789]{6,10}")


@dataclass(frozen=True)
class Workload:
    """A pod's workload. `kind`: empty where there is none that could own anything, then `uid` is too.

    `uid` is empty as well for a Deployment that was found by its ReplicaSet's name: it has to be looked up.
    """

    kind: str
    name: str
    uid: str = ""


def find_workload(pod: Pod) -> Workload:
    """The workload of a pod that is being created."""
    metadata = mapping_at(pod, "metadata")
    match _controller(metadata):
        case {"kind": "StatefulSet", "apiVersion": "apps/v1", "name": name, "uid": uid}:
            return Workload("StatefulSet", name, uid)
        case {"kind": "Sandbox", "apiVersion": str(version), "name": name, "uid": uid} if (
            version.partition("/")[0] == SANDBOX_GROUP
        ):
            return Workload("Sandbox", name, uid)
        case {"kind": "ReplicaSet", "name": name}:
            return _of_replica_set(name, metadata)
        case _:
            return Workload("", _derived_name(metadata))


def _controller(metadata: Mapping[str, Any]) -> Mapping[str, Any]:
    owners = list_at(metadata, "ownerReferences")
    return next((owner for owner in owners if owner.get("controller")), dict[str, Any]())


def _of_replica_set(name: str, metadata: Mapping[str, Any]) -> Workload:
    suffix = f"-{mapping_at(metadata, 'labels').get(_HASH_LABEL, '')}"
    if suffix != "-" and name.endswith(suffix) and name != suffix:
        return Workload("Deployment", name.removesuffix(suffix))
    return Workload("", name)


def _derived_name(metadata: Mapping[str, Any]) -> str:
    generated = str(metadata.get("generateName") or "").removesuffix("-")
    head, _, tail = generated.rpartition("-")
    if head and (_HASH.fullmatch(tail) or tail == mapping_at(metadata, "labels").get(_HASH_LABEL)):
        return head
    return generated or metadata.get("name") or metadata.get("uid") or ""
