"""ServiceAccounts that agents' pods run as though their templates name none: what admission gives them."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from kagenti_operator.kube.objects.models import KubeObject
from kagenti_operator.runtime.cache.informer import Informer


@dataclass(frozen=True, kw_only=True)
class FurtherAccounts:
    """`is_given`: whether pods of a workload, by namespace and name, may run as the account of its name.

    `of_cluster`: objects whose coming and going matters to all agents; `of_namespace`: that are namespaces;
    `within_namespace`: that live in one.
    """

    is_given: Callable[[str, str], bool]
    of_cluster: Informer[KubeObject]
    of_namespace: Informer[Any]
    within_namespace: Informer[KubeObject]

    @property
    def informers(self) -> tuple[Informer[Any], ...]:
        """All of them."""
        return (self.of_cluster, self.of_namespace, self.within_namespace)
