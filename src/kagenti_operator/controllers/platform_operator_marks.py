"""Pure: which Deployment is the platform's own operator, and with which flags it runs."""

from collections.abc import Mapping

from kagenti_operator import contract
from kagenti_operator.kube.objects.workloads import Container, Workload

MLFLOW = "enable-mlflow"
CONFIGURATION = "enable-otel-bootstrap"
# Of an operator, not of a sidecar.
_FLAGS = frozenset((MLFLOW, CONFIGURATION, "leader-elect"))
_NAMES = (contract.CONTROLLER_MANAGER, *(names.deployment for names in contract.PLATFORMS.values()))


def read_flags(container: Container) -> Mapping[str, str]:
    """The flags that a program in Go is started with, by name; none of this operator's own.

    A flag that is given twice has its last value, as with Go's flag package.
    """
    arguments = (*(container.command or ())[1:], *(container.args or ()))
    # Ours has commands, and this is the one that writes.
    if "run" in arguments:
        return {}
    flags = (argument.lstrip("-").partition("=") for argument in arguments if argument.startswith("-"))
    return {name: value if equals else "true" for name, equals, value in flags}


def is_platform_operator(deployment: Workload) -> bool:
    """Whether that Deployment is the platform's own operator: by its command, or by name or label and flags.

    A name alone says nothing: a first installation of ours has the same.
    """
    labelled = deployment.metadata.labels.get("control-plane") == contract.CONTROLLER_MANAGER
    known = labelled or deployment.metadata.name in _NAMES
    return any(
        _is_manager(container) or (known and not _FLAGS.isdisjoint(read_flags(container)))
        for container in deployment.spec.template.spec.containers
    )


def _is_manager(container: Container) -> bool:
    command = container.command or ("",)
    return command[0].rpartition("/")[2] == "manager"
