"""Whether the collector's configuration is in place, judged from outside the operator. Pure."""

from kagenti_operator import contract
from kagenti_operator.contract import Names
from kagenti_operator.controllers.collector.in_place import InPlace
from kagenti_operator.kube.objects.models import ConfigMap
from kagenti_operator.kube.objects.workloads import Workload


def find_problem(names: Names, config_map: ConfigMap | None, collector: Workload | None) -> str | None:
    """What keeps the configuration from being in place, as a sentence; None when it is."""
    if config_map is None:
        return (
            f"ConfigMap {contract.COLLECTOR_CONFIG} does not exist: the operator has written none. "
            "Its log says why"
        )
    in_place = InPlace.of(names, config_map)
    if not in_place.is_ours:
        return (
            f"ConfigMap {contract.COLLECTOR_CONFIG} holds something else than the operator wrote: it undoes "
            "edits within seconds while it runs and may write. Its log says why it does not"
        )
    if collector is None:
        return f"Deployment {contract.COLLECTOR} does not exist: install it; its configuration waits for it"
    if collector.spec.template.annotations.get(names.config_hash_annotation) != in_place.annotated:
        return (
            f"Deployment {contract.COLLECTOR} is not rolled to the configuration. The operator's log says why"
        )
    if not collector.is_rolled_out:
        return (
            f"Deployment {contract.COLLECTOR} is rolling to the configuration, but its pods are not ready. "
            "Describe them, and read their log"
        )
    return None


def describe(names: Names, config_map: ConfigMap) -> str:
    """Where the spans go by that configuration."""
    destination = InPlace.of(names, config_map).destination
    if destination is None:
        return "it sends nothing to MLflow, which is not there or not wanted"
    if destination.workspace is None:
        return f"it sends to {destination.traces_endpoint}"
    return (
        f"it sends to {destination.traces_endpoint}, workspace {destination.workspace}, "
        f"experiment {destination.experiment_id}"
    )
