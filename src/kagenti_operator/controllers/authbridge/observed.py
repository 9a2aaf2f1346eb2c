"""Everything that decides about a pod that is to be injected, together."""

from dataclasses import dataclass

from kagenti_operator.contract import (
    PLATFORM_CONFIG,
    TLS_BRIDGE_SUFFIX,
    WORKLOAD_CONFIG_PREFIX,
    WORKLOAD_ENVOY_PREFIX,
)
from kagenti_operator.controllers.authbridge.base import Base
from kagenti_operator.controllers.authbridge.gates import Gates
from kagenti_operator.controllers.authbridge.inputs import NamespaceConfig, Pod, Refusal, Surroundings
from kagenti_operator.controllers.authbridge.platform_config import PlatformConfig
from kagenti_operator.controllers.authbridge.resolve import Settings
from kagenti_operator.controllers.authbridge.workload import Workload

_LONGEST_NAME = 253
# Of the names that are made of a workload's, the longest.
_LONGEST_WORKLOAD = _LONGEST_NAME - len(WORKLOAD_CONFIG_PREFIX)


@dataclass(frozen=True, kw_only=True)
class Observed:
    """A pod, and all that decides about it, with what was resolved of that.

    `envoy`: neither a label nor a gate keeps Envoy out.
    """

    pod: Pod
    workload: Workload
    namespace: NamespaceConfig
    gates: Gates
    platform: PlatformConfig
    surroundings: Surroundings
    base: Base
    settings: Settings
    envoy: bool

    @property
    def redirects(self) -> bool:
        """Whether iptables are set up, which have to know the sidecar's user."""
        return self.settings.redirect or self.settings.mode == "envoy-sidecar"

    @property
    def config_map(self) -> str:
        """The ConfigMap with the workload's file."""
        return f"{WORKLOAD_CONFIG_PREFIX}{self.workload.name}"

    @property
    def envoy_config_map(self) -> str:
        """The ConfigMap with the workload's Envoy configuration."""
        return f"{WORKLOAD_ENVOY_PREFIX}{self.workload.name}"

    @property
    def tls_bridge_secret(self) -> str:
        """The Secret with the workload's CA of the TLS bridge."""
        return f"{self.workload.name}{TLS_BRIDGE_SUFFIX}"

    def image(self, key: str, image: str) -> str:
        """An image of the platform's. Raises Refusal where it is not set."""
        if image:
            return image
        raise Refusal(
            f"ConfigMap {self.surroundings.names.prefixed(PLATFORM_CONFIG)} lacks images.{key}, which mode "
            f"{self.settings.mode} needs"
        )


def check_name(workload: Workload) -> None:
    """Raises Refusal where objects could not be named as a workload."""
    if not 0 < len(workload.name) <= _LONGEST_WORKLOAD:
        raise Refusal(
            f"the workload's name has {len(workload.name)} characters, and objects could not be "
            f"named as it: choose a name of {_LONGEST_WORKLOAD} at most"
        )
