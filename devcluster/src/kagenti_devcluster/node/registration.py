"""The Node object: what the cluster knows of the node, kept there as long as the node runs."""

import os
import platform
from datetime import datetime
from typing import Any

from kagenti_devcluster.node.kubelet import PORT as KUBELET_PORT
from kagenti_devcluster.node.network import NODE_ADDRESS, POD_CIDR
from kagenti_devcluster.node.objects import NODES
from kagenti_devcluster.node.state import to_time
from kagenti_operator import clock
from kagenti_operator.kube.client import KubeClient

NODE_NAME = "devcluster"
_ARCHITECTURES = {"x86_64": "amd64", "aarch64": "arm64"}
# As often as the kubelet reports a status that did not change.
_REPORT_SECONDS = 300.0
_FIELD_MANAGER = "devcluster-node"
_MANY = "1000"


def node_labels() -> dict[str, str]:
    """The labels that every node carries."""
    machine = platform.machine()
    return {
        "kubernetes.io/hostname": NODE_NAME,
        "kubernetes.io/os": "linux",
        "kubernetes.io/arch": _ARCHITECTURES.get(machine, machine),
        "node-role.kubernetes.io/control-plane": "",
        "node-role.kubernetes.io/worker": "",
    }


def _build_status(now: datetime, since: datetime, version: str) -> dict[str, Any]:
    memory = f"{os.sysconf('SC_PHYS_PAGES') * os.sysconf('SC_PAGE_SIZE') // 1024}Ki"
    capacity = {"cpu": str(os.cpu_count() or 1), "memory": memory, "pods": _MANY}
    return {
        "conditions": [
            {
                "type": "Ready",
                "status": "True",
                "reason": "KubeletReady",
                "message": "pods run as processes of this machine",
                "lastHeartbeatTime": to_time(now),
                "lastTransitionTime": to_time(since),
            }
        ],
        # No host name: the API server would try to resolve it.
        "addresses": [{"type": "InternalIP", "address": NODE_ADDRESS}],
        "daemonEndpoints": {"kubeletEndpoint": {"Port": KUBELET_PORT}},
        "capacity": capacity,
        "allocatable": capacity,
        "nodeInfo": {
            "machineID": "",
            "systemUUID": "",
            "bootID": "",
            "kernelVersion": platform.release(),
            "osImage": "the machine's own",
            "containerRuntimeVersion": "processes://1",
            "kubeletVersion": version,
            "kubeProxyVersion": "",
            "operatingSystem": "linux",
            "architecture": node_labels()["kubernetes.io/arch"],
        },
    }


async def register(client: KubeClient, since: datetime, version: str) -> float:
    """Make the Node object what it should be; returns after how many seconds again. Raises KubeError."""
    node = {
        "apiVersion": "v1",
        "kind": "Node",
        "metadata": {"name": NODE_NAME, "labels": node_labels()},
        "spec": {"podCIDR": str(POD_CIDR), "podCIDRs": [str(POD_CIDR)]},
    }
    await client.apply(NODES, node, field_manager=_FIELD_MANAGER)
    await client.patch_status(NODES, NODE_NAME, _build_status(clock.now(), since, version))
    return _REPORT_SECONDS
