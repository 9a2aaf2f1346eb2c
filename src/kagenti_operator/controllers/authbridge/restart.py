"""Pure: a raw workload as the keeper of its file reads it, and the merge patches that restart its pods.

A Deployment or StatefulSet replaces its pods when its pod template changes. A Sandbox keeps its pod: it is
suspended, and resumed once the pod is gone. That it is to be resumed stands on the Sandbox itself, so whoever
leads by then does it.
"""

from collections.abc import Mapping
from typing import Any

from kagenti_operator.contract import AUTHBRIDGE_HASH_ANNOTATION, AUTHBRIDGE_RESUME_ANNOTATION, Names
from kagenti_operator.controllers.authbridge.inputs import Pod
from kagenti_operator.controllers.authbridge.pod import annotations_of, list_at, mapping_at
from kagenti_operator.kube.manifests import Manifest
from kagenti_operator.kube.resources import AGENT_SANDBOXES

type Raw = Mapping[str, Any]

SANDBOX = AGENT_SANDBOXES.kind
# Sandboxes of this version have a number of replicas, later ones a mode.
_WITH_REPLICAS = "agents.x-k8s.io/v1alpha1"


def template_field(workload: Raw) -> str:
    """Where that kind of workload keeps its pod template."""
    return "podTemplate" if workload["kind"] == SANDBOX else "template"


def build_pod(workload: Raw) -> Pod:
    """The pod that the workload makes next, as far as its template says."""
    template = mapping_at(workload["spec"], template_field(workload))
    metadata = {**mapping_at(template, "metadata"), "namespace": workload["metadata"]["namespace"]}
    return {"metadata": metadata, "spec": mapping_at(template, "spec")}


def rolled_hash(names: Names, workload: Raw) -> str:
    """With which hash its pods were last replaced by the operator; empty where they never were."""
    return annotations_of(build_pod(workload)).get(names.key(AUTHBRIDGE_HASH_ANNOTATION), "")


def has_pods(workload: Raw) -> bool:
    """Whether there are pods of it, as its status says."""
    status = mapping_at(workload, "status")
    if workload["kind"] != SANDBOX:
        return int(status.get("replicas") or 0) > 0
    if _is_suspended(workload):
        return False
    return bool(status.get("replicas") or status.get("podIPs") or _condition(workload, "Ready"))


def build_restart(names: Names, workload: Raw, value: str) -> Manifest:
    """Build the merge patch that has its pods replaced, while nobody changed the workload meanwhile."""
    annotations: dict[str, Any] = {names.key(AUTHBRIDGE_HASH_ANNOTATION): value}
    if workload["kind"] != SANDBOX:
        return _patch(workload, annotations)
    annotations[names.key(AUTHBRIDGE_RESUME_ANNOTATION)] = "true"
    return _patch(workload, annotations, **_mode(workload, running=False))


def build_resume(names: Names, workload: Raw) -> Manifest:
    """Build the merge patch that lets a Sandbox run again."""
    annotations: dict[str, Any] = {names.key(AUTHBRIDGE_RESUME_ANNOTATION): None}
    return _patch(workload, annotations, **_mode(workload, running=True))


def is_to_resume(names: Names, workload: Raw) -> bool:
    """Whether the operator suspended it and has not resumed it."""
    return names.key(AUTHBRIDGE_RESUME_ANNOTATION) in annotations_of(build_pod(workload))


def is_stopped(workload: Raw) -> bool:
    """Whether a suspended Sandbox has no pod any more, or somebody has resumed it already."""
    if not _is_suspended(workload):
        return True
    if workload["apiVersion"] == _WITH_REPLICAS:
        return not mapping_at(workload, "status").get("replicas")
    generation = workload["metadata"].get("generation", 0)
    found = _condition(workload, "Suspended")
    return bool(found) and found.get("observedGeneration", generation) >= generation


def _is_suspended(workload: Raw) -> bool:
    spec = mapping_at(workload, "spec")
    return spec.get("replicas") == 0 or spec.get("operatingMode") == "Suspended"


def _condition(workload: Raw, name: str) -> Raw:
    """A condition that is true, empty where there is none."""
    found = list_at(mapping_at(workload, "status"), "conditions")
    return next(
        filter(lambda it: (it.get("type"), it.get("status")) == (name, "True"), found), dict[str, Any]()
    )


def _mode(workload: Raw, *, running: bool) -> dict[str, Any]:
    if workload["apiVersion"] == _WITH_REPLICAS:
        return {"replicas": int(running)}
    return {"operatingMode": "Running" if running else "Suspended"}


def _patch(workload: Raw, annotations: Mapping[str, Any], **spec: Any) -> Manifest:
    template = {"metadata": {"annotations": annotations}}
    return {
        "metadata": {"resourceVersion": workload["metadata"]["resourceVersion"]},
        "spec": {**spec, template_field(workload): template},
    }
