"""The permissions without which the operator cannot do what it was told to, asked for when it starts.

Only those that are surely needed: every cache, because no controller starts before all are complete, and the
writes of the enabled features. What is needed only now and then (making the MLflow CR, deleting a binding) is
told of when it is refused.
"""

import asyncio
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import msgspec
import structlog

from kagenti_operator.controllers.cluster import Cluster
from kagenti_operator.controllers.settings import COLLECTOR, COLLECTOR_CONFIG
from kagenti_operator.kube import resources
from kagenti_operator.kube.client import KubeClient
from kagenti_operator.kube.errors import KubeError
from kagenti_operator.kube.resources import Resource

log = structlog.get_logger("controllers.permissions")

REVIEWS = "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews"
# Each connection costs a TLS handshake.
_AT_ONCE = 8
# A slow or absent API server must not keep the operator from starting: then it learns by being refused.
_PATIENCE_SECONDS = 2.0


@dataclass(frozen=True, kw_only=True)
class Permission:
    """One verb on one resource; an empty namespace means all of them, an empty name every object."""

    verb: str
    group: str
    resource: str
    namespace: str = ""
    name: str = ""

    def __str__(self) -> str:
        what = f"{self.resource}.{self.group}" if self.group else self.resource
        named = f'{what} "{self.name}"' if self.name else what
        return f"{self.verb} {named} {f'in namespace {self.namespace}' if self.namespace else 'cluster-wide'}"


class _Status(msgspec.Struct, frozen=True):
    allowed: bool = False


class _Review(msgspec.Struct, frozen=True):
    status: _Status = _Status()


def required(cluster: Cluster, *, lease: str | None, reviews: bool) -> tuple[Permission, ...]:
    """What this operator needs; `lease`: the one it competes for, `reviews`: it asks who may scrape."""
    settings = cluster.settings
    needed: list[Permission] = []
    if lease:
        needed += _leases(settings.namespace, lease)
    if reviews:
        needed.append(Permission(verb="create", group="authentication.k8s.io", resource="tokenreviews"))
        needed.append(
            Permission(verb="create", group="authorization.k8s.io", resource="subjectaccessreviews")
        )
    if settings.enable_mlflow or settings.enable_otel_bootstrap:
        needed += _reads(cluster)
    if settings.enable_mlflow:
        for resource in (resources.ROLE_BINDINGS, resources.ROLES):
            needed += _verbs(resource, "create", "patch")
        for resource in (resources.AGENT_DEPLOYMENTS, resources.AGENT_STATEFUL_SETS):
            needed += _verbs(resource, "patch")
    if settings.enable_otel_bootstrap:
        own = settings.namespace
        needed += _verbs(resources.CONFIG_MAPS, "create", "patch", namespace=own, name=COLLECTOR_CONFIG)
        needed += _verbs(resources.DEPLOYMENTS, "patch", namespace=own, name=COLLECTOR)
    return tuple(dict.fromkeys(needed))


def _leases(namespace: str, name: str) -> Iterator[Permission]:
    group = "coordination.k8s.io"
    yield Permission(verb="create", group=group, resource="leases", namespace=namespace)
    for verb in ("get", "update"):
        yield Permission(verb=verb, group=group, resource="leases", namespace=namespace, name=name)


def _reads(cluster: Cluster) -> Iterator[Permission]:
    for informer in cluster.informers:
        if informer.optional:
            continue
        # The authorizer takes a selector by name for the object's name.
        name = informer.field_selector.removeprefix("metadata.name=")
        yield from _verbs(informer.resource, "list", "watch", namespace=informer.namespace or "", name=name)


def _verbs(resource: Resource[Any], *verbs: str, namespace: str = "", name: str = "") -> Iterable[Permission]:
    return [
        Permission(verb=verb, group=resource.group, resource=resource.plural, namespace=namespace, name=name)
        for verb in verbs
    ]


async def find_missing(client: KubeClient, needed: Sequence[Permission]) -> list[Permission]:
    """Ask the API server which of these it refuses; none where it cannot be asked."""
    turns = asyncio.Semaphore(_AT_ONCE)

    async def is_missing(permission: Permission) -> bool:
        async with turns:
            return not await _is_allowed(client, permission)

    try:
        async with asyncio.timeout(_PATIENCE_SECONDS):
            answers = await asyncio.gather(*(is_missing(permission) for permission in needed))
    except (KubeError, TimeoutError) as error:
        log.warning("Cannot ask the API server for my permissions, starting without", error=str(error))
        return []
    return [permission for permission, missing in zip(needed, answers, strict=True) if missing]


async def _is_allowed(client: KubeClient, permission: Permission) -> bool:
    attributes = {field: getattr(permission, field) for field in Permission.__dataclass_fields__}
    body = msgspec.json.encode({"spec": {"resourceAttributes": attributes}})
    return msgspec.json.decode(await client.raw("POST", REVIEWS, body=body), type=_Review).status.allowed


def word_missing(missing: Sequence[Permission]) -> str:
    """A sentence for whoever has to grant them."""
    listed = "\n".join(f"  {permission}" for permission in missing)
    return (
        f"the operator's ServiceAccount lacks {len(missing)} of the permissions that the enabled features "
        f"need:\n{listed}\n"
        "Install the chart with rbac.enable=true, which grants them, or add them to the roles that you "
        "brought yourself (charts/kagenti-operator/README.md, Permissions), or switch the feature off"
    )
