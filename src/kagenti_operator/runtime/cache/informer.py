"""A cache of one kind's objects that follows the API server and tells its subscribers what changed."""

import random
from collections.abc import Callable, Mapping

from kagenti_operator.kube.client import PAGE_SIZE, SILENCE_SECONDS, KubeClient
from kagenti_operator.kube.objects.models import KubeObject
from kagenti_operator.kube.resources import Resource
from kagenti_operator.runtime.cache.object_cache import Handler, Mirror
from kagenti_operator.runtime.cache.reflector import Reflector
from kagenti_operator.runtime.cache.store import IndexFunction, Store


class Informer[T: KubeObject]:
    """Follows the objects of a resource that a namespace and selectors admit.

    `optional`: without permission to list them there are none, instead of waiting for the permission.
    `where_served`: an API group without which there are none, so that nothing is asked for.
    """

    def __init__(
        self,
        client: KubeClient,
        resource: Resource[T],
        *,
        namespace: str | None = None,
        label_selector: str = "",
        field_selector: str = "",
        optional: bool = False,
        where_served: str = "",
        indexes: Mapping[str, IndexFunction[T]] | None = None,
        rng: random.Random,
        page_size: int = PAGE_SIZE,
        silence_seconds: float = SILENCE_SECONDS,
    ) -> None:
        self.namespace = namespace
        self.field_selector = field_selector
        self.optional = optional
        self.where_served = where_served
        parts = (resource.crd_name.rstrip("."), namespace, label_selector, field_selector)
        self.name = " ".join(part for part in parts if part)
        self._mirror = Mirror[T](self.name, indexes or {})
        self._reflector = Reflector(
            client,
            resource,
            self._mirror,
            namespace=namespace,
            label_selector=label_selector,
            field_selector=field_selector,
            optional=optional,
            where_served=where_served,
            rng=rng,
            page_size=page_size,
            silence_seconds=silence_seconds,
        )

    @property
    def resource(self) -> Resource[T]:
        """What is followed, at the version that the cluster serves: to write its objects with."""
        return self._reflector.resource

    @property
    def store(self) -> Store[T]:
        """The cache, to read from."""
        return self._mirror.store

    @property
    def synced(self) -> bool:
        """Whether the cache is complete: the first list is done, or the API is known not to be served."""
        return self._mirror.synced.is_set()

    @property
    def present(self) -> bool:
        """Whether the API is served; False before the first answer, and while the CRD does not exist."""
        return self._mirror.present

    async def wait_synced(self) -> None:
        """Return when `synced`."""
        await self._mirror.synced.wait()

    def subscribe(self, handler: Handler[T]) -> None:
        """Call it with (None, new), (old, new) or (old, None) after the cache took up a change."""
        self._mirror.subscribe(handler)

    def subscribe_presence(self, handler: Callable[[], None]) -> None:
        """Call it after `present` changed; an API that appears with no objects is no other event."""
        self._mirror.subscribe_presence(handler)

    def retry_now(self) -> None:
        """Look at once: the CRD appeared or changed. Cheap, and harmless when it did not."""
        self._reflector.retry_now()

    async def run(self) -> None:
        """Follow the API server until cancelled."""
        await self._reflector.run()
