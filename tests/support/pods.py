"""Pods as the API server would send them."""

from typing import Any

import msgspec

from kagenti_devcluster.node.environ import PodFacts
from kagenti_devcluster.node.models import Container, Pod, Volume

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
