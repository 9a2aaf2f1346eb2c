"""What the node gives to each of its pods."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from kagenti_devcluster.host.paths import StatePaths
from kagenti_devcluster.node.environ import Lookup
from kagenti_devcluster.node.hosts import Entry
from kagenti_devcluster.node.images import ImageTable
from kagenti_devcluster.node.models import Pod
from kagenti_devcluster.node.network import PodNetworks
from kagenti_devcluster.node.volumes import ClaimDirectory
from kagenti_operator.kube.client import KubeClient


class RecordEvent(Protocol):
    """Records an Event about a pod."""

    def __call__(self, pod: Pod, reason: str, message: str, *, warning: bool = False) -> None:
        """`reason` is one CamelCase word."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class NodeContext:
    """The node's parts, as a pod uses them; functions of a namespace where a pod only sees its own.

    `visible` are directories of the machine that containers can always see, `egress` the variables that lead
    to the outside; `reconcile` has the pod of a uid reconciled, because its status changed.
    """

    name: str
    client: KubeClient
    paths: StatePaths
    networks: PodNetworks
    images: ImageTable
    visible: Sequence[str]
    lookup: Callable[[str], Lookup]
    claim_directory: Callable[[str], ClaimDirectory]
    hosts: Callable[[str], Sequence[Entry]]
    egress: Mapping[str, str]
    reconcile: Callable[[str], None]
    record_event: RecordEvent
