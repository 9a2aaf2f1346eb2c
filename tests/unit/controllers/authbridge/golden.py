"""What becomes of a pod, as YAML: `cases/<name>.in.yaml` in, `cases/<name>.out.yaml` out."""

from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any, cast

import msgspec
import yaml

from kagenti_operator.contract import PLATFORMS
from kagenti_operator.controllers.authbridge.decide import decide
from kagenti_operator.controllers.authbridge.gates import Gates, parse_gates
from kagenti_operator.controllers.authbridge.inputs import NamespaceConfig, Pod, Surroundings
from kagenti_operator.controllers.authbridge.outcome import Injected, Outcome, Refused, Unchanged
from kagenti_operator.controllers.authbridge.platform_config import PlatformConfig, parse_platform
from kagenti_operator.controllers.authbridge.workload import Workload

CASES = Path(__file__).parent / "cases"
NAMES = sorted(path.name.removesuffix(".in.yaml") for path in CASES.glob("*.in.yaml"))
_FIELDS = ("service_account", "credentials_secret", "tls_bridge_secret", "pod", "config", "envoy_config")


class Case(msgspec.Struct, frozen=True):
    """The arguments of `decide`."""

    pod: Pod
    workload: Workload
    namespace: NamespaceConfig
    gates: Gates
    platform: PlatformConfig
    surroundings: Surroundings

    def decide(self, pod: Pod | None = None) -> Outcome:
        """Decide about the case's pod, or another one in its place."""
        return decide(
            self.pod if pod is None else pod,
            self.workload,
            self.namespace,
            self.gates,
            self.platform,
            self.surroundings,
        )


def load(name: str) -> Case:
    """Read a case."""
    return build(yaml.safe_load((CASES / f"{name}.in.yaml").read_text()))


def build(given: Mapping[str, Any]) -> Case:
    """A case of what differs from the defaults."""
    it = _merge(_defaults(), given)
    return Case(
        pod=it["pod"],
        workload=Workload(**it["workload"]),
        namespace=NamespaceConfig(namespace="team1", config=it["config"], base=it.get("base")),
        gates=parse_gates(it["gates"]),
        platform=parse_platform(it["platform"]),
        surroundings=Surroundings(names=PLATFORMS[it["platform_name"]], **it["surroundings"]),
    )


def render(outcome: Outcome) -> str:
    """An outcome as people read it."""
    match outcome:
        case Unchanged():
            written: dict[str, Any] = {"unchanged": True}
        case Refused():
            written = {"refused": outcome.message}
        case Injected():
            written = {name: getattr(outcome, name) for name in _FIELDS}
    written["warnings"] = list(outcome.warnings)
    # By way of the JSON that goes over the wire.
    plain = msgspec.json.decode(msgspec.json.encode({k: it for k, it in written.items() if it}))
    return yaml.dump(plain, Dumper=_Dumper, sort_keys=False, width=110)


class _Dumper(yaml.SafeDumper):
    def represent_text(self, text: str) -> yaml.ScalarNode:
        return yaml.ScalarNode("tag:yaml.org,2002:str", text, style="|" if "\n" in text else None)


_Dumper.add_representer(str, _Dumper.represent_text)


@cache
def _defaults() -> Mapping[str, Any]:
    return yaml.safe_load((CASES / "defaults.yaml").read_text())


def _merge(below: Mapping[str, Any], above: Mapping[str, Any]) -> dict[str, Any]:
    merged = dict(below)
    for key, value in above.items():
        under = merged.get(key)
        if isinstance(value, Mapping) and isinstance(under, Mapping):
            merged[key] = _merge(cast("Mapping[str, Any]", under), cast("Mapping[str, Any]", value))
        elif value is None:
            merged.pop(key, None)
        else:
            merged[key] = value
    return merged
