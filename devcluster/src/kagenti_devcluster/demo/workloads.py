"""Workloads as the API server has them, and as they are applied. Pure."""

from collections.abc import Iterable, Mapping
from typing import Any

from kagenti_devcluster.cluster.kubectl import Manifest


def workload_path(plural: str, namespace: str, name: str) -> str:
    """Path of a Deployment or StatefulSet."""
    return f"/apis/apps/v1/namespaces/{namespace}/{plural}/{name}"


def is_rolled_out(workload: Mapping[str, Any]) -> bool:
    """Whether all wanted pods, and only those, are of the current template and ready."""
    wanted = workload["spec"].get("replicas", 1)
    status = workload.get("status", {})
    return (
        status.get("observedGeneration", 0) >= workload["metadata"]["generation"]
        and status.get("updatedReplicas", 0) == wanted
        and status.get("readyReplicas", 0) == wanted
        and status.get("replicas", 0) == wanted
    )


def environment(workload: Mapping[str, Any]) -> dict[str, str]:
    """Variables of the first container that have a plain value."""
    container = workload["spec"]["template"]["spec"]["containers"][0]
    return {v["name"]: v["value"] for v in container.get("env", []) if "value" in v}


def annotate_templates(manifests: Iterable[Manifest], annotations: Mapping[str, str]) -> list[Manifest]:
    """The same objects, with annotations on Deployments' pods: a Deployment is rolled where they change."""
    return [_annotate(manifest, annotations) for manifest in manifests]


def _annotate(manifest: Manifest, annotations: Mapping[str, str]) -> Manifest:
    if manifest["kind"] != "Deployment":
        return manifest
    spec = manifest["spec"]
    template = spec["template"]
    metadata = template.get("metadata", {})
    merged = {**metadata, "annotations": {**metadata.get("annotations", {}), **annotations}}
    return {**manifest, "spec": {**spec, "template": {**template, "metadata": merged}}}
