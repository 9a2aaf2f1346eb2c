"""With whom what the operator writes is deleted: the cluster's garbage collector tidies up, even after it."""

from collections.abc import Mapping
from typing import Any

from kagenti_operator.kube.objects.models import KubeObject
from kagenti_operator.kube.resources import Resource


def build_owner(resource: Resource[Any], owner: KubeObject) -> Mapping[str, str]:
    """An owner reference; the owner is cluster-scoped, or in the namespace of what it owns."""
    return {
        "apiVersion": resource.api_version,
        "kind": resource.kind,
        "name": owner.metadata.name,
        "uid": owner.metadata.uid,
    }
