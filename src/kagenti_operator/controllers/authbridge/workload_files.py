"""Pure: a workload's two ConfigMaps, and which of the two that write them may write when.

A workload's replicas share one file, which the sidecar reads again while it runs. So a file says for which
pods it is, by the hash of what only a new pod takes over. Admission writes it where there is none, or where
it is for other pods than the one that comes: not before, for replicas with other ports still run on it.
Whatever else changes reaches the running sidecars through the controller, which never writes a file that is
for other pods.
"""

from collections.abc import Mapping

from kagenti_operator import contract
from kagenti_operator.contract import Names
from kagenti_operator.controllers.authbridge.outcome import Injected
from kagenti_operator.kube.manifests import Manifest, build_config_map
from kagenti_operator.kube.objects.models import ConfigMap


def build_files(
    names: Names, namespace: str, workload: str, outcome: Injected, owner: Mapping[str, str] | None
) -> list[Manifest]:
    """Build the ConfigMaps of section 6.5 and, with Envoy, 6.8; to be applied as `<platform>-webhook`.

    `owner`: the workload as an owner reference, with which they go; None for a pod that nobody owns.
    """
    texts = {
        contract.WORKLOAD_CONFIG_PREFIX: (contract.CONFIG_KEY, outcome.config),
        contract.WORKLOAD_ENVOY_PREFIX: (contract.ENVOY_CONFIG_KEY, outcome.envoy_config),
    }
    labels = {names.key(contract.AUTHBRIDGE_MANAGED_LABEL): contract.AUTHBRIDGE_MANAGED}
    owners = [{**owner, "controller": True, "blockOwnerDeletion": True}] if owner else []
    return [
        build_config_map(
            f"{prefix}{workload}",
            namespace,
            {key: text},
            labels={**names.managed_labels, **labels},
            annotations={names.key(contract.AUTHBRIDGE_HASH_ANNOTATION): outcome.restart_hash},
            owners=owners,
        )
        for prefix, (key, text) in texts.items()
        if text is not None
    ]


def hash_of(names: Names, file: ConfigMap) -> str:
    """For which pods a file is; empty for one that nobody of ours wrote."""
    return file.metadata.annotations.get(names.key(contract.AUTHBRIDGE_HASH_ANNOTATION), "")


def is_for(names: Names, file: ConfigMap | None, outcome: Injected) -> bool:
    """Whether a file is there for pods like the one that was decided about."""
    return file is not None and hash_of(names, file) == outcome.restart_hash
