"""What a raw pod holds, where what is not there is empty."""

from collections.abc import Iterator, Mapping
from typing import Any, cast

from kagenti_operator.controllers.authbridge.inputs import Pod

type Container = Mapping[str, Any]


def mapping_at(parent: Mapping[str, Any], key: str) -> Mapping[str, Any]:
    """The mapping under a key."""
    return cast("Mapping[str, Any]", parent.get(key) or {})


def list_at(parent: Mapping[str, Any], key: str) -> list[Mapping[str, Any]]:
    """The list of mappings under a key."""
    return cast("list[Mapping[str, Any]]", parent.get(key) or [])


def labels_of(pod: Pod) -> Mapping[str, str]:
    """The labels of a pod."""
    return mapping_at(mapping_at(pod, "metadata"), "labels")


def annotations_of(pod: Pod) -> Mapping[str, str]:
    """The annotations of a pod."""
    return mapping_at(mapping_at(pod, "metadata"), "annotations")


def containers_of(pod: Pod) -> list[Container]:
    """The containers of a pod."""
    return list_at(pod["spec"], "containers")


def all_containers(pod: Pod) -> Iterator[Container]:
    """The containers of a pod, and its init containers, of which some run beside them."""
    yield from containers_of(pod)
    yield from list_at(pod["spec"], "initContainers")
