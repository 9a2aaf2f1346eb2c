"""Manifests that are written for Kagenti and for people who label agents, as a platform wants them. Pure."""

from collections.abc import Iterable, Iterator
from typing import Any

import msgspec

from kagenti_devcluster.cluster.kubectl import Manifest
from kagenti_devcluster.profiles import Profile
from kagenti_devcluster.standins.own_certificate import CONFIG_MAP, CONFIG_MAP_KEY
from kagenti_operator.contract import CERTIFICATE_VARIABLE, KAGENTI

_WORKLOADS = ("Deployment", "StatefulSet")
_CA_FOLDER = "/etc/mlflow-ca"


def fit(manifests: Iterable[Manifest], profile: Profile, authority: str) -> list[Manifest]:
    """The same objects with that platform's names, and with what it asks of who makes an agent.

    Where the platform's operator labels agents, that is an AgentRuntime in place of the label. Where there is
    no service CA, it is that the agent names the CA of MLflow, whose certificate is `authority`.
    """
    fitted: list[Manifest] = []
    for manifest in (_rename(found, profile) for found in manifests):
        if not profile.openshift:
            fitted += _with_authority(manifest, profile, authority)
        elif profile.agent_runtimes:
            fitted += _with_runtime(manifest, profile)
        else:
            fitted.append(manifest)
    return fitted


def _rename(manifest: Manifest, profile: Profile) -> Manifest:
    text = msgspec.json.encode(manifest).decode()
    text = text.replace(f"{KAGENTI.domain}/type", f"{profile.names.domain}/type")
    return msgspec.json.decode(text.replace(KAGENTI.namespace, profile.names.namespace))


def _is_agent(manifest: Manifest, profile: Profile) -> bool:
    labels: dict[str, str] = manifest["metadata"].get("labels", {})
    return manifest["kind"] in _WORKLOADS and labels.get(f"{profile.names.domain}/type") == "agent"


def _with_runtime(manifest: Manifest, profile: Profile) -> Iterator[Manifest]:
    if not _is_agent(manifest, profile):
        yield manifest
        return
    spec = manifest["spec"]
    template = _without_label(spec["template"], profile)
    yield {**_without_label(manifest, profile), "spec": {**spec, "template": template}}
    meta = manifest["metadata"]
    target = {"apiVersion": manifest["apiVersion"], "kind": manifest["kind"], "name": meta["name"]}
    yield {
        "apiVersion": f"agent.{profile.names.prefix}.dev/v1alpha1",
        "kind": "AgentRuntime",
        "metadata": {"name": meta["name"], "namespace": meta["namespace"]},
        "spec": {"type": "agent", "targetRef": target},
    }


def _without_label(labelled: dict[str, Any], profile: Profile) -> dict[str, Any]:
    metadata = labelled["metadata"]
    labels = {k: v for k, v in metadata.get("labels", {}).items() if k != f"{profile.names.domain}/type"}
    return {**labelled, "metadata": {**metadata, "labels": labels}}


def _with_authority(manifest: Manifest, profile: Profile, authority: str) -> Iterator[Manifest]:
    if manifest["kind"] == "Namespace":
        yield manifest
        metadata = {"name": CONFIG_MAP, "namespace": manifest["metadata"]["name"]}
        yield {
            "apiVersion": "v1",
            "kind": "ConfigMap",
            "metadata": metadata,
            "data": {CONFIG_MAP_KEY: authority},
        }
        return
    if not _is_agent(manifest, profile):
        yield manifest
        return
    spec = manifest["spec"]
    pod = spec["template"]["spec"]
    pod = {
        **pod,
        "containers": [_trusting(container) for container in pod["containers"]],
        "volumes": [*pod.get("volumes", []), {"name": CONFIG_MAP, "configMap": {"name": CONFIG_MAP}}],
    }
    yield {**manifest, "spec": {**spec, "template": {**spec["template"], "spec": pod}}}


def _trusting(container: dict[str, Any]) -> dict[str, Any]:
    variable = {"name": CERTIFICATE_VARIABLE, "value": f"{_CA_FOLDER}/{CONFIG_MAP_KEY}"}
    mount = {"name": CONFIG_MAP, "mountPath": _CA_FOLDER, "readOnly": True}
    return {
        **container,
        "env": [*container.get("env", []), variable],
        "volumeMounts": [*container.get("volumeMounts", []), mount],
    }
