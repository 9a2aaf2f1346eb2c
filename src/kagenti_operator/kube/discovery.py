"""What the API server says it serves."""

from typing import Any

from kagenti_operator.kube.client import KubeClient
from kagenti_operator.kube.errors import KubeError
from kagenti_operator.kube.objects.models import KubeStruct
from kagenti_operator.kube.resources import Resource


class _ServedResource(KubeStruct):
    name: str
    namespaced: bool


class _ServedResources(KubeStruct):
    resources: tuple[_ServedResource, ...] = ()


async def is_namespaced(client: KubeClient, resource: Resource[Any]) -> bool:
    """Return the resource's scope from discovery.

    Raises ApiError while its group and version are not served, KubeError where the version lacks it.
    """
    answer = await client.ask("GET", f"/apis/{resource.api_version}", _ServedResources)
    for served in answer.resources:
        if served.name == resource.plural:
            return served.namespaced
    raise KubeError(f"{resource.api_version} does not serve {resource.plural}")
