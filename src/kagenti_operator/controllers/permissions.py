"""The permissions without which the operator cannot do what is switched on, asked for when it starts.

Only those that are surely needed: the caches before which no controller starts, and the writes of the enabled
features. What is needed only now and then (making the MLflow CR, deleting a binding) is
reported when it is refused.
"""

import asyncio
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import msgspec
import structlog

from kagenti_operator.kube.client import KubeClient
from kagenti_operator.kube.errors import KubeError
from kagenti_operator.kube.resources import Resource
from kagenti_operator.runtime.cache.informer import Informer

log = structlog.get_logger(__name__)

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


def permit(
    resource: Resource[Any], *verbs: str, namespace: str = "", name: str = ""
) -> tuple[Permission, ...]:
    """Build the permissions for these verbs on a resource."""
    return tuple(
        Permission(verb=verb, group=resource.group, resource=resource.plural, namespace=namespace, name=name)
        for verb in verbs
    )


def permit_reads(informers: Iterable[Informer[Any]]) -> Iterator[Permission]:
    """Build the permissions without which nothing could start: what is deferrable holds up only itself."""
    for informer in informers:
        selection = informer.selection
        if not selection.deferrable:
            namespace, name = selection.namespace or "", selection.name
            yield from permit(informer.resource, "list", "watch", namespace=namespace, name=name)


def permit_lease(namespace: str, name: str) -> Iterator[Permission]:
    """Build the permissions to compete for a lease."""
    group = "coordination.k8s.io"
    yield Permission(verb="create", group=group, resource="leases", namespace=namespace)
    for verb in ("get", "update"):
        yield Permission(verb=verb, group=group, resource="leases", namespace=namespace, name=name)


def permit_reviews() -> Iterator[Permission]:
    """Build the permissions to ask who may scrape metrics."""
    yield Permission(verb="create", group="authentication.k8s.io", resource="tokenreviews")
    yield Permission(verb="create", group="authorization.k8s.io", resource="subjectaccessreviews")


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
    review = {"spec": {"resourceAttributes": attributes}}
    return (await client.ask("POST", REVIEWS, _Review, body=review)).status.allowed


def describe_missing(missing: Sequence[Permission]) -> str:
    """A sentence for whoever has to grant them."""
    listed = "\n".join(f"  {permission}" for permission in missing)
    return (
        f"the operator's ServiceAccount lacks {len(missing)} of the permissions that the enabled features "
        f"need:\n{listed}\n"
        "Install the chart with rbac.enable=true, which grants them, or add them to the roles that you "
        "brought yourself (charts/kagenti-operator/README.md, Permissions), or switch the feature off"
    )
