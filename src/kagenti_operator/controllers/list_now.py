"""What the API server itself has of something, asked before anything is taken away: a cache may be wrong.

A watch may be behind, and a list may have been cut short by whatever stands between.
"""

from collections.abc import Sequence

from kagenti_operator.kube.client import KubeClient
from kagenti_operator.kube.errors import ApiError, KubeError
from kagenti_operator.kube.objects.models import KubeObject
from kagenti_operator.kube.resources import CUSTOM_RESOURCE_DEFINITIONS, Resource


async def list_now[T: KubeObject](
    client: KubeClient,
    resource: Resource[T],
    namespace: str | None = None,
    *,
    label_selector: str = "",
    name: str = "",
    limit: int = 10,
) -> Sequence[T]:
    """Return the first objects of a selection; none where nothing defines their API.

    Raises KubeError, also for an object that does not fit its model, and where an API that a
    CustomResourceDefinition defines is not served: one of several API servers may not know it yet.
    """
    try:
        page = await client.list_page(
            resource,
            namespace=namespace,
            label_selector=label_selector,
            field_selector=f"metadata.name={name}" if name else "",
            limit=limit,
        )
    except ApiError as error:
        if not error.not_found or not resource.is_custom or await _is_defined(client, resource):
            raise
        return ()
    if page.unreadable:
        # It is there, whatever it says.
        found = page.unreadable[0]
        name = "/".join(filter(None, (found.metadata.namespace, found.metadata.name)))
        raise KubeError(f"{resource.kind} {name} cannot be read: {found.problem}")
    return page.items


async def _is_defined[T: KubeObject](client: KubeClient, resource: Resource[T]) -> bool:
    found = await client.list_page(
        CUSTOM_RESOURCE_DEFINITIONS, field_selector=f"metadata.name={resource.crd_name}", limit=1
    )
    return bool(found.items)
