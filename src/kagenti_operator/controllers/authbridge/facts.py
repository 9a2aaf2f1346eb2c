"""What `decide` is asked with, beside the pod, from the caches: the webhook's and the controllers' alike."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import structlog
from msgspec.structs import replace

from kagenti_operator import contract
from kagenti_operator.controllers.authbridge.gates import Gates, parse_gates
from kagenti_operator.controllers.authbridge.inputs import NamespaceConfig, Surroundings
from kagenti_operator.controllers.authbridge.namespaces import EnabledNamespaces
from kagenti_operator.controllers.authbridge.platform_config import PlatformConfig, parse_platform
from kagenti_operator.controllers.dependencies import Dependencies
from kagenti_operator.kube.objects.models import ConfigMap, KubeObject
from kagenti_operator.kube.resources import CONFIG_MAPS, CSI_DRIVERS
from kagenti_operator.runtime.cache.informer import Informer
from kagenti_operator.runtime.cache.object_cache import Event, Removed, Selection
from kagenti_operator.runtime.observable import Observable
from kagenti_operator.runtime.telemetry.events import EventRecorder, ObjectRef

log = structlog.get_logger(__name__)


class FollowedConfig[T]:
    """What a ConfigMap of the operator's namespace says. A bad edit is reported; the last good one holds."""

    def __init__(
        self, dependencies: Dependencies, name: str, key: str, parse: Callable[[str], T], default: T
    ) -> None:
        self.informer: Informer[ConfigMap] = dependencies.informers.get(
            Selection(resource=CONFIG_MAPS, namespace=dependencies.settings.own_namespace, name=name)
        )
        self.value = Observable(default)
        self._key = key
        self._parse = parse
        self._default = default
        self._events: EventRecorder = dependencies.events
        self.informer.subscribe(self._follow)

    def _follow(self, event: Event[ConfigMap]) -> None:
        if isinstance(event, Removed):
            self.value.set(self._default)
            return
        found = event.object
        try:
            self.value.set(self._parse((found.data or {}).get(self._key, "")))
        except ValueError as error:
            text = f"Key {self._key} {error}. What it said before still holds"
            log.warning(text, name=found.metadata.name, namespace=found.metadata.namespace)
            self._events.warning(ObjectRef.of(CONFIG_MAPS, found), "ConfigurationNotUsable", f"{text}.")


@dataclass(frozen=True, kw_only=True)
class Inputs:
    """The arguments of `decide` after pod and workload."""

    namespace: NamespaceConfig
    gates: Gates
    platform: PlatformConfig
    surroundings: Surroundings


class AuthBridgeFacts:
    """Gates, platform, cluster, and each namespace's ConfigMaps."""

    def __init__(
        self,
        dependencies: Dependencies,
        is_openshift: Observable[bool | None],
        *definitions: Informer[KubeObject],
    ) -> None:
        settings = dependencies.settings
        names = settings.names
        self.namespaces = EnabledNamespaces(dependencies)
        self.gates = FollowedConfig(
            dependencies,
            names.prefixed(contract.FEATURE_GATES),
            contract.FEATURE_GATES_KEY,
            parse_gates,
            Gates(),
        )
        self.platform = FollowedConfig(
            dependencies,
            names.prefixed(contract.PLATFORM_CONFIG),
            contract.CONFIG_KEY,
            parse_platform,
            PlatformConfig(),
        )
        self.drivers = dependencies.informers.get(
            Selection(resource=CSI_DRIVERS, name=contract.SPIFFE_DRIVER)
        )
        self.is_openshift = is_openshift
        self._definitions = definitions
        self._settings = settings

    @property
    def informers(self) -> tuple[Informer[Any], ...]:
        """All that it reads: nothing is to be decided before they are complete."""
        found = self.namespaces
        return (
            found.namespaces,
            found.configs,
            found.runtime_configs,
            self.gates.informer,
            self.platform.informer,
            self.drivers,
            *self._definitions,
        )

    def observe(self, namespace: str) -> Inputs:
        """A snapshot for one namespace, once all that it reads is known."""
        config, runtime = self.namespaces.config(namespace), self.namespaces.runtime_config(namespace)
        is_openshift = bool(self.is_openshift.value)
        platform = self.platform.value.value
        if is_openshift and not self._settings.authbridge_scc:
            # Nobody there may have an init container with these capabilities.
            proxy = replace(platform.proxy, allowed_egress_enforcement=("none",))
            platform = replace(platform, proxy=proxy)
        return Inputs(
            namespace=NamespaceConfig(
                namespace=namespace,
                # A line's end, as a block of YAML leaves it, means nothing in any of them.
                config={key: it.strip() for key, it in ((config.data if config else None) or {}).items()},
                base=(runtime.data or {}).get(contract.CONFIG_KEY) if runtime else None,
            ),
            gates=self.gates.value.value,
            platform=platform,
            surroundings=Surroundings(
                names=self._settings.names,
                is_openshift=is_openshift,
                has_spiffe_driver=len(self.drivers.cache) > 0,
                client_registration=self._settings.enable_client_registration,
                platform_namespace=self._settings.namespace,
            ),
        )
