"""Service addresses: what kube-proxy does, by listening on them and passing connections on."""

import random
from collections.abc import Iterable, Sequence

import structlog

from kagenti_devcluster.cluster.proxy import Backends, Proxy, listen
from kagenti_devcluster.node.objects import Service, Slice
from kagenti_operator.runtime.cache.informer import Informer
from kagenti_operator.runtime.cache.object_cache import Event, Updated, key_of
from kagenti_operator.runtime.control.controller import build_controller
from kagenti_operator.runtime.telemetry.metrics import Metrics

log = structlog.get_logger(__name__)

BY_SERVICE = "service"
_SERVICE_LABEL = "kubernetes.io/service-name"

# An address and a port.
type Address = tuple[str, int]


def service_key(namespace: str, name: str) -> str:
    """How the slices of a Service are found in an index."""
    return f"{namespace}/{name}"


def index_by_service(obj: Slice) -> tuple[str, ...]:
    """The Service that a slice belongs to."""
    name = obj.metadata.labels.get(_SERVICE_LABEL)
    return (service_key(obj.metadata.namespace, name),) if name else ()


def _endpoints(slices: Iterable[Slice], port_name: str) -> tuple[Address, ...]:
    """Ready endpoints; where there are none, those that are going but still serve, as kube-proxy does."""
    ready: list[Address] = []
    serving: list[Address] = []
    for item in slices:
        port = next((p.port for p in item.ports or () if p.name == port_name), None)
        if port is None:
            continue
        for endpoint in item.endpoints or ():
            addresses = [(address, port) for address in endpoint.addresses]
            if endpoint.ready:
                ready += addresses
            elif endpoint.conditions and endpoint.conditions.serving:
                serving += addresses
    return tuple(sorted(ready or serving))


def find_backends(service: Service, slices: Sequence[Slice]) -> dict[Address, tuple[Address, ...]]:
    """Where each of a Service's addresses leads; nothing for those without endpoints. Pure."""
    address = service.spec.cluster_ip
    if not address or address == "None":
        return {}
    found = {
        (address, port.port): _endpoints(slices, port.name)
        for port in service.spec.ports or ()
        if port.protocol == "TCP"
    }
    return {at: endpoints for at, endpoints in found.items() if endpoints}


class ServiceProxies:
    """Listens on every Service's address that has endpoints; without any, connections are refused."""

    def __init__(
        self, services: Informer[Service], slices: Informer[Slice], *, metrics: Metrics, rng: random.Random
    ) -> None:
        """`slices` has the index BY_SERVICE."""
        self._services = services
        self._slices = slices
        self._open: dict[str, dict[Address, tuple[Proxy, Backends]]] = {}
        self.controller = build_controller("services", self._reconcile, metrics, rng)
        self.controller.watches(services, lambda event: (service_key(*key_of(event.object)),))
        self.controller.watches(slices, _services_of_slice)

    async def run(self) -> None:
        """Follow the Services until cancelled."""
        try:
            await self.controller.run()
        finally:
            for proxy, _ in (pair for proxies in self._open.values() for pair in proxies.values()):
                proxy.close()

    async def _reconcile(self, key: str) -> None:
        service = self._services.cache.get(*key.split("/"))
        wanted = find_backends(service, self._slices.cache.by_index(BY_SERVICE, key)) if service else {}
        current = self._open.setdefault(key, {})
        for address in [a for a in current if a not in wanted]:
            current.pop(address)[0].close()
        for address, endpoints in wanted.items():
            if address not in current:
                try:
                    current[address] = await self._listen(key, address)
                except OSError as error:
                    log.warning("A Service cannot be served", service=key, address=address, error=str(error))
                    continue
            current[address][1].replace(endpoints)
        if not current:
            del self._open[key]

    async def _listen(self, key: str, address: Address) -> tuple[Proxy, Backends]:
        backends = Backends()
        proxy = Proxy(key, listen(*address), backends.dial)
        await proxy.start()
        return proxy, backends


def _services_of_slice(event: Event[Slice]) -> set[str]:
    slices = (event.old, event.object) if isinstance(event, Updated) else (event.object,)
    return {key for obj in slices for key in index_by_service(obj)}
