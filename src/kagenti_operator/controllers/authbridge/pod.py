"""What a raw pod holds, where what is not there is empty."""

from collections.abc import Iterable, Iterator, Mapping
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


def with_env(container: Container, variables: Mapping[str, Mapping[str, Any]]) -> Container:
    """A container with variables, each as the API has it; one that is there is overwritten in its place."""
    left = dict(variables)
    env: list[Mapping[str, Any]] = []
    for var in list_at(container, "env"):
        if var["name"] not in variables:
            env.append(var)
        elif var["name"] in left:
            env.append({"name": var["name"], **left.pop(var["name"])})
    return {**container, "env": [*env, *({"name": name, **value} for name, value in left.items())]}


def with_default_env(container: Container, variables: Mapping[str, str]) -> Container:
    """A container with those of the variables that it does not have."""
    present = {var["name"] for var in list_at(container, "env")}
    missing = {name: {"value": value} for name, value in variables.items() if name not in present}
    return with_env(container, missing) if missing else container


def with_mounts(container: Container, mounts: Iterable[Mapping[str, Any]]) -> Container:
    """A container with those of the mounts whose paths it does not have."""
    present = list_at(container, "volumeMounts")
    paths = {mount["mountPath"].rstrip("/") for mount in present}
    missing = [mount for mount in mounts if mount["mountPath"].rstrip("/") not in paths]
    return {**container, "volumeMounts": [*present, *missing]} if missing else container


def with_volumes(pod: Pod, volumes: Iterable[Mapping[str, Any]]) -> Pod:
    """A pod with those of the volumes whose names it does not have."""
    present = list_at(pod["spec"], "volumes")
    names = {volume["name"] for volume in present}
    missing = [volume for volume in volumes if volume["name"] not in names]
    return with_spec(pod, {"volumes": [*present, *missing]}) if missing else pod


def with_spec(pod: Pod, fields: Mapping[str, Any]) -> Pod:
    """A pod with these fields of its spec."""
    return {**pod, "spec": {**pod["spec"], **fields}}


def field_env(path: str) -> Mapping[str, Any]:
    """A variable's value, from a field of the pod."""
    return {"valueFrom": {"fieldRef": {"fieldPath": path}}}
