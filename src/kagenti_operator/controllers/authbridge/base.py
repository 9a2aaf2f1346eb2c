"""The base of a namespace's sidecars: key `config.yaml` of ConfigMap `authbridge-runtime-config`."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from kagenti_operator.contract import AUTHBRIDGE_RUNTIME_CONFIG, CONFIG_KEY
from kagenti_operator.controllers.authbridge.inputs import NamespaceConfig, Refusal
from kagenti_operator.controllers.authbridge.yaml_text import read_mapping
from kagenti_operator.mappings import as_mapping
from kagenti_operator.plain_text import excerpt

_SECTIONS = ("listener", "mtls", "tls_bridge", "spiffe", "stats", "pipeline")


@dataclass(frozen=True)
class Base:
    """What a namespace's platform engineers set for all its sidecars. `where`: how people find it."""

    document: Mapping[str, Any]
    where: str

    def section(self, name: str) -> Mapping[str, Any]:
        """A mapping of it, empty where there is none."""
        return as_mapping(self.document.get(name))

    def text(self, *path: str) -> str:
        """A text at a path of keys, empty where there is none. Raises Refusal where something else is."""
        *sections, key = path
        parent = self.section(sections[0]) if sections else self.document
        value = parent.get(key)
        if value is not None and not isinstance(value, str):
            raise Refusal(f"{'.'.join(path)} of {self.where} is no text")
        return str(value or "")


def read_base(namespace: NamespaceConfig) -> Base:
    """Read it. Raises Refusal where it is no YAML, or has another shape than the sidecar reads."""
    where = f"ConfigMap {AUTHBRIDGE_RUNTIME_CONFIG} in namespace {namespace.namespace}"
    try:
        document = read_mapping(namespace.base or "")
    except ValueError as error:
        raise Refusal(f"{where}: key {CONFIG_KEY} {excerpt(str(error), 200)}") from error
    for name in _SECTIONS:
        if not isinstance(document.get(name, {}), Mapping | None):
            raise Refusal(f"{where}: {name} in key {CONFIG_KEY} is no mapping")
    return Base(document, where)
