"""Which pods are injected: section 6.2."""

from dataclasses import dataclass

from kagenti_operator.contract import (
    AGENT_TYPE,
    ENVOY_INJECT_LABEL,
    ENVOY_SIDECAR,
    INJECT_DISABLED,
    INJECT_LABEL,
    PROXY_INIT,
    SIDECAR,
    SPIFFE_INJECT_LABEL,
    TOOL_TYPE,
    TYPE_LABEL,
    Names,
)
from kagenti_operator.controllers.authbridge.gates import Gates
from kagenti_operator.controllers.authbridge.inputs import Pod
from kagenti_operator.controllers.authbridge.pod import containers_of, labels_of, list_at


@dataclass(frozen=True)
class Selection:
    """What of the platform's parts a pod is to have."""

    envoy: bool
    spiffe: bool


def select(pod: Pod, gates: Gates, names: Names) -> Selection | None:
    """What a pod is to have by its labels and the gates; None where it is left alone."""
    labels = labels_of(pod)
    kind = labels.get(names.key(TYPE_LABEL))
    if kind not in (AGENT_TYPE, TOOL_TYPE) or not gates.global_enabled:
        return None
    if kind == TOOL_TYPE and not gates.inject_tools:
        return None
    if labels.get(names.key(INJECT_LABEL)) == INJECT_DISABLED:
        return None
    envoy = gates.envoy_proxy and labels.get(names.key(ENVOY_INJECT_LABEL)) != "false"
    spiffe = labels.get(names.key(SPIFFE_INJECT_LABEL)) != "false"
    return Selection(envoy, spiffe) if envoy or spiffe else None


def is_injected(pod: Pod) -> bool:
    """Whether a pod has its sidecar, or what redirects its traffic, already."""
    containers = {container["name"] for container in containers_of(pod)}
    inits = {container["name"] for container in list_at(pod["spec"], "initContainers")}
    return not containers.isdisjoint((SIDECAR, ENVOY_SIDECAR)) or PROXY_INIT in inits
