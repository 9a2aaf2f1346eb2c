"""Pure: what the collector's Deployment tells of the collector."""

from kagenti_operator import contract
from kagenti_operator.kube.objects.workloads import Container, Workload
from kagenti_operator.kube.quantity import parse_bytes


def collector_image(collector: Workload | None) -> str:
    """Image of the collector's container, empty where it cannot be told."""
    container = find_container(collector)
    return container.image if container else ""


def collector_memory_bytes(collector: Workload | None) -> int | None:
    """Memory limit of the collector's container, None where it has none."""
    container = find_container(collector)
    limits = (container.resources.limits or {}) if container and container.resources else {}
    return parse_bytes(limits.get("memory", ""))


def is_oauth_client(collector: Workload | None) -> bool:
    """Whether the collector is given what it needs to be an OAuth client of MLflow's."""
    container = find_container(collector)
    if container is None:
        return False
    secrets = (source.secret_ref.name for source in container.env_from or () if source.secret_ref)
    variables = (variable.name for variable in container.env or ())
    return contract.OAUTH_CLIENT_VARIABLE in variables or contract.OAUTH_CLIENT_SECRET in secrets


def find_container(collector: Workload | None) -> Container | None:
    """The collector's container: the one of that name, else the first."""
    if collector is None:
        return None
    containers = collector.spec.template.spec.containers
    return next(
        (c for c in containers if c.name == contract.COLLECTOR), containers[0] if containers else None
    )
