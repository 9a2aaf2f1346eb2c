"""Pods, Services and their endpoints as the API server would send them."""

from typing import Any

import msgspec

from kagenti_devcluster.node.environ import PodFacts
from kagenti_devcluster.node.models import Container, Pod, Volume
from kagenti_devcluster.node.objects import Service, Slice

META: dict[str, Any] = {
    "name": "web-0",
    "namespace": "team1",
    "uid": "u-1",
    "labels": {"app": "web", "tier": "front"},
    "annotations": {"note": "a b"},
}


def build_pod(**spec: Any) -> Pod:
    fields = {"serviceAccountName": "robot", "containers": [{"name": "main"}], **spec}
    return msgspec.convert({"metadata": META, "spec": fields}, Pod)


def build_container(**fields: Any) -> Container:
    return msgspec.convert({"name": "main", "image": "example/x", **fields}, Container)


def build_volume(**fields: Any) -> Volume:
    return msgspec.convert({"name": "v", **fields}, Volume)


FACTS = PodFacts(build_pod(), "10.77.0.9", "devcluster", "10.77.0.1")


def build_service(name: str, namespace: str = "team1", **spec: Any) -> Service:
    fields = {"clusterIP": "10.96.1.2", "ports": [{"port": 80, "name": "http"}], **spec}
    return msgspec.convert({"metadata": {"name": name, "namespace": namespace}, "spec": fields}, Service)


def build_slice(name: str, *endpoints: dict[str, Any], port: int = 8080) -> Slice:
    labels = {"kubernetes.io/service-name": name}
    metadata = {"name": f"{name}-x", "namespace": "team1", "labels": labels}
    ports = [{"name": "http", "port": port}]
    return msgspec.convert({"metadata": metadata, "endpoints": list(endpoints), "ports": ports}, Slice)


def build_endpoint(address: str, **conditions: bool) -> dict[str, Any]:
    return {"addresses": [address], "conditions": conditions}
