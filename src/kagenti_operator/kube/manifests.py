"""One constructor per kind of object that is written: what is sent to the API server is built here only."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from kagenti_operator.kube.objects.models import KubeObject
from kagenti_operator.kube.resources import CONFIG_MAPS, RBAC, ROLE_BINDINGS, ROLES, Resource

type Manifest = Mapping[str, Any]
type OwnerReferences = Sequence[Mapping[str, str]]


def build_owner(resource: Resource[Any], owner: KubeObject) -> Mapping[str, str]:
    """Build an owner reference; the owner is cluster-scoped, or in the namespace of what it owns."""
    return {
        "apiVersion": resource.api_version,
        "kind": resource.kind,
        "name": owner.metadata.name,
        "uid": owner.metadata.uid,
    }


def build_manifest(
    resource: Resource[Any],
    name: str,
    namespace: str = "",
    *,
    labels: Mapping[str, str],
    annotations: Mapping[str, str] | None = None,
    owners: OwnerReferences = (),
    **content: Any,
) -> Manifest:
    """Build an object of any kind; `content` are its fields beside the metadata."""
    metadata: dict[str, Any] = {"name": name, "labels": labels}
    if namespace:
        metadata["namespace"] = namespace
    if annotations is not None:
        metadata["annotations"] = annotations
    if owners:
        metadata["ownerReferences"] = owners
    return {"apiVersion": resource.api_version, "kind": resource.kind, "metadata": metadata, **content}


def build_patch(resource: Resource[Any], obj: KubeObject, *, exact: bool = False, **content: Any) -> Manifest:
    """Build an apply of `content` to an object that exists; its uid keeps the apply from creating one.

    `exact`: only while nobody changed the object; otherwise the API server answers with a conflict.
    """
    meta = obj.metadata
    metadata = {"name": meta.name, "namespace": meta.namespace, "uid": meta.uid}
    if exact:
        metadata["resourceVersion"] = meta.resource_version
    return {"apiVersion": resource.api_version, "kind": resource.kind, "metadata": metadata, **content}


def build_config_map(name: str, namespace: str, data: Mapping[str, str], **metadata: Any) -> Manifest:
    """Build a ConfigMap; `metadata` as in `build_manifest`."""
    return build_manifest(CONFIG_MAPS, name, namespace, **metadata, data=data)


def build_role(
    name: str,
    namespace: str,
    *,
    group: str,
    resource: str,
    names: Sequence[str],
    verbs: Sequence[str],
    **metadata: Any,
) -> Manifest:
    """Build a Role with one rule for objects by name. Raises ValueError without names.

    A rule without names, or with an empty one, grants every object of the namespace.
    """
    if not names or not all(names):
        raise ValueError(f"Role {namespace}/{name} needs the names of what it grants, not {names!r}")
    rule = {"apiGroups": (group,), "resources": (resource,), "resourceNames": names, "verbs": verbs}
    return build_manifest(ROLES, name, namespace, **metadata, rules=[rule])


def build_role_binding(
    name: str,
    namespace: str,
    *,
    role: Resource[Any],
    role_name: str,
    accounts: Iterable[tuple[str, str]],
    **metadata: Any,
) -> Manifest:
    """Build a RoleBinding of a Role or ClusterRole to ServiceAccounts, given by namespace and name."""
    subjects = [{"kind": "ServiceAccount", "name": name, "namespace": where} for where, name in accounts]
    reference = {"apiGroup": RBAC, "kind": role.kind, "name": role_name}
    return build_manifest(ROLE_BINDINGS, name, namespace, **metadata, roleRef=reference, subjects=subjects)
