"""The namespaces for which AuthBridge is switched on, and what is kept for it there, from the caches."""

from collections.abc import Iterable

from kagenti_operator import contract
from kagenti_operator.controllers.dependencies import Dependencies
from kagenti_operator.kube.objects.models import KubeObject, SharedConfigMap
from kagenti_operator.kube.resources import NAMESPACES, SHARED_CONFIG_MAPS
from kagenti_operator.runtime.cache.informer import Informer
from kagenti_operator.runtime.cache.object_cache import Event, Selection


class EnabledNamespaces:
    """Namespaces with the platform's label and their ConfigMaps; those of the operator's are templates."""

    def __init__(self, dependencies: Dependencies) -> None:
        settings, informers = dependencies.settings, dependencies.informers
        self._own = settings.own_namespace
        self.selector = f"{settings.names.prefixed(contract.ENABLED_LABEL)}=true"
        self.namespaces = informers.get(Selection(resource=NAMESPACES, label_selector=self.selector))
        self.configs: Informer[SharedConfigMap] = informers.get(
            Selection(resource=SHARED_CONFIG_MAPS, name=contract.AUTHBRIDGE_CONFIG, packed=True)
        )
        self.runtime_configs: Informer[SharedConfigMap] = informers.get(
            Selection(resource=SHARED_CONFIG_MAPS, name=contract.AUTHBRIDGE_RUNTIME_CONFIG, packed=True)
        )

    def get(self, namespace: str) -> KubeObject | None:
        """A namespace with the label; None for Kubernetes' own, the operator's, and one that goes."""
        found = self.namespaces.cache.get("", namespace)
        if found is None or found.metadata.deletion_timestamp is not None:
            return None
        return None if namespace in (*contract.KUBERNETES_NAMESPACES, self._own) else found

    def all(self) -> tuple[str, ...]:
        """The names of all namespaces with the label."""
        return tuple(name for _, name in self.namespaces.cache.all_keys())

    def config(self, namespace: str) -> SharedConfigMap | None:
        """The namespace's `authbridge-config`."""
        return self.configs.cache.get(namespace, contract.AUTHBRIDGE_CONFIG)

    def runtime_config(self, namespace: str) -> SharedConfigMap | None:
        """The namespace's `authbridge-runtime-config`."""
        return self.runtime_configs.cache.get(namespace, contract.AUTHBRIDGE_RUNTIME_CONFIG)

    @property
    def templates(self) -> tuple[SharedConfigMap, ...]:
        """The two ConfigMaps of the operator's namespace, as far as they are there."""
        return tuple(filter(None, (self.config(self._own), self.runtime_config(self._own))))

    def lacks(self, template: SharedConfigMap, namespace: str) -> bool:
        """Whether a namespace has no ConfigMap of a template's name."""
        name = template.metadata.name
        informer = self.configs if name == contract.AUTHBRIDGE_CONFIG else self.runtime_configs
        return (namespace, name) not in informer.cache

    def concerned(self, event: Event[SharedConfigMap]) -> Iterable[str]:
        """The namespaces that a ConfigMap matters to: a template matters to all."""
        namespace = event.object.metadata.namespace
        return self.all() if namespace == self._own else (namespace,)
