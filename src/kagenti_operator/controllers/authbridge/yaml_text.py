"""YAML that is read from ConfigMaps of others and written into the workloads' own."""

from typing import Any

import yaml

from kagenti_operator.otelcol.verbatim import Scalar, VerbatimError, read_verbatim

# A file of a sidecar has a few KiB; this bounds the work that a tenant can make.
MAX_BYTES = 64 * 2**10


def read_mapping(text: str) -> dict[str, Any]:
    """The mapping that the text is, empty for no text. Raises ValueError with what goes on from a name."""
    if len(text.encode()) > MAX_BYTES:
        raise VerbatimError(f"is larger than {MAX_BYTES // 2**10} KiB")
    return read_verbatim(text) or {}


def render(document: dict[str, Any]) -> str:
    """As YAML, the same text for the same document."""
    return yaml.dump(document, Dumper=_Dumper, sort_keys=False, default_flow_style=False, width=2**31 - 1)


class _Dumper(yaml.CSafeDumper):
    def ignore_aliases(self, data: Any) -> bool:  # noqa: ARG002
        return True


_Dumper.add_representer(Scalar, lambda _, scalar: scalar.represent())
