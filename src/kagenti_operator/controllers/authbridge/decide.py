"""Pure: what becomes of a pod, from what was observed. The webhook asks for it, and who keeps the files."""

from typing import Any

from kagenti_operator.contract import SIDECAR
from kagenti_operator.controllers.authbridge.agent_config import build_pipeline, listener_keys
from kagenti_operator.controllers.authbridge.gates import Gates
from kagenti_operator.controllers.authbridge.inputs import NamespaceConfig, Pod, Refusal, Surroundings
from kagenti_operator.controllers.authbridge.outcome import Injected, Outcome, Refused, Unchanged
from kagenti_operator.controllers.authbridge.platform_config import PlatformConfig
from kagenti_operator.controllers.authbridge.ports import Ports, plan_ports
from kagenti_operator.controllers.authbridge.selection import is_injected, select
from kagenti_operator.controllers.authbridge.workload import Workload
from kagenti_operator.controllers.authbridge.yaml_text import render


def decide(
    pod: Pod,
    workload: Workload,
    namespace: NamespaceConfig,
    gates: Gates,
    platform: PlatformConfig,
    surroundings: Surroundings,
) -> Outcome:
    """Decide by sections 6.2 to 6.8 of the specification. The same arguments give the same bytes."""
    if select(pod, gates, surroundings.names) is None:
        return Unchanged()
    if pod["spec"].get("hostNetwork"):
        return Unchanged(
            ("AuthBridge is not injected: the pod has hostNetwork, and shares the node's ports",)
        )
    if is_injected(pod):
        return Unchanged()
    try:
        ports = plan_ports(pod)
        document = {
            "pipeline": build_pipeline(namespace),
            "mode": "proxy-sidecar",
            "listener": listener_keys(ports),
        }
    except Refusal as refusal:
        return Refused(f"AuthBridge: {refusal} (workload {workload.name})")
    return Injected(pod=_inject(pod, ports, platform), config=render(document))


def _inject(pod: Pod, ports: Ports, platform: PlatformConfig) -> Pod:
    sidecar: dict[str, Any] = {
        "name": SIDECAR,
        "image": platform.images.authbridge,
        "imagePullPolicy": platform.images.pull_policy,
        "args": ["--config", "/etc/authbridge/config.yaml"],
        "ports": [
            {"name": ports.name or "reverse-proxy", "containerPort": ports.agent},
            {"name": "forward-proxy", "containerPort": ports.forward},
        ],
    }
    return {**pod, "spec": {**pod["spec"], "containers": [*pod["spec"]["containers"], sidecar]}}
