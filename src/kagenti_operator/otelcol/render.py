"""The one renderer: a configuration becomes YAML text, the same text for the same facts, for ever; and its
inverse, for what must outlive the operator's process.

The text is hashed and a changed hash rolls the collector, so its order is explicit here: sections as in
`_document`, components in the order in which assemble.py lays them.
"""

import hashlib
from collections.abc import Mapping
from typing import Any, cast

import yaml

from kagenti_operator.contract import EXPERIMENT_HEADER, WORKSPACE_HEADER
from kagenti_operator.mappings import as_mapping
from kagenti_operator.otelcol.assemble import MLFLOW_EXPORTER, assemble, unescape
from kagenti_operator.otelcol.exporters import modern_exporter_id
from kagenti_operator.otelcol.model import Configuration, Facts, MLflowDestination, Pipeline, Settings
from kagenti_operator.verbatim_yaml import Scalar

HEADER = "# Written by kagenti-operator from what it finds in the cluster; edits here are undone.\n"


def render(facts: Facts) -> str:
    """The collector's configuration for these facts, as YAML text."""
    return render_configuration(assemble(facts))


def render_configuration(configuration: Configuration) -> str:
    """Write a configuration as YAML text."""
    return HEADER + yaml.dump(
        _document(configuration),
        Dumper=_Dumper,
        sort_keys=False,
        default_flow_style=False,
        # Escaped: YAML folds some of Unicode's line breaks into spaces, and a URL must come back as it was.
        allow_unicode=False,
        # A folded line would hide a change of a word behind a change of the folding.
        width=2**31,
    )


def config_hash(yaml_text: str) -> str:
    """Sha256 of the text in hex, as in annotation `kagenti.io/otel-config-hash`."""
    return hashlib.sha256(yaml_text.encode()).hexdigest()


def last_known_destination(yaml_text: str, annotated_hash: str | None) -> MLflowDestination | None:
    """The MLflow destination of a configuration that `render` wrote.

    None where it has none, and where the text is not what the operator wrote: then the annotated hash does
    not fit, and an address somebody typed into the ConfigMap must not outlive the edit.
    """
    settings = _written_exporter(yaml_text, annotated_hash)
    headers = as_mapping(settings.get("headers"))
    try:
        return MLflowDestination(
            traces_endpoint=_text(settings.get("traces_endpoint")) or "",
            workspace=_text(headers.get(WORKSPACE_HEADER)),
            experiment_id=_text(headers.get(EXPERIMENT_HEADER)),
        )
    except ValueError:
        return None


def last_known_ca(yaml_text: str, annotated_hash: str | None) -> str | None:
    """The CA of MLflow's certificate in a configuration that `render` wrote, as PEM."""
    ca = as_mapping(_written_exporter(yaml_text, annotated_hash).get("tls")).get("ca_pem")
    return ca if isinstance(ca, str) else None


def _written_exporter(yaml_text: str, annotated_hash: str | None) -> Mapping[str, Any]:
    if annotated_hash != config_hash(yaml_text):
        return {}
    try:
        # Every scalar is a text to it, so that none in somebody else's part can be no date or no number.
        document: object = yaml.load(yaml_text, Loader=yaml.BaseLoader)
    except (yaml.YAMLError, RecursionError):
        return {}
    exporters = as_mapping(as_mapping(document).get("exporters"))
    return as_mapping(exporters.get(MLFLOW_EXPORTER) or exporters.get(modern_exporter_id(MLFLOW_EXPORTER)))


def _document(configuration: Configuration) -> dict[str, Any]:
    sections = {
        "extensions": configuration.extensions,
        "receivers": configuration.receivers,
        "processors": configuration.processors,
        "exporters": {id_: _quote_headers(it) for id_, it in configuration.exporters.items()},
        "connectors": configuration.connectors,
    }
    service = {
        "extensions": list(configuration.extensions),
        **({"telemetry": configuration.telemetry} if configuration.telemetry else {}),
        "pipelines": {id_: _pipeline(it) for id_, it in configuration.pipelines.items()},
    }
    return {name: components for name, components in sections.items() if components} | {"service": service}


def _pipeline(pipeline: Pipeline) -> dict[str, list[str]]:
    return {
        "receivers": list(pipeline.receivers),
        "processors": list(pipeline.processors),
        "exporters": list(pipeline.exporters),
    }


def _quote_headers(settings: Settings | None) -> Settings | None:
    # The collector's YAML reader takes more plain words for numbers than ours (`1e3`, `0o7`). What users
    # wrote stays as they wrote it.
    headers = settings.get("headers") if settings else None
    if not settings or not isinstance(headers, Mapping):
        return settings
    items = cast("Mapping[str, object]", headers).items()
    return {**settings, "headers": {name: _Quoted(it) if type(it) is str else it for name, it in items}}


class _Quoted(str):
    """A string that is always written in quotes."""


class _Dumper(yaml.SafeDumper):
    def ignore_aliases(self, data: Any) -> bool:  # noqa: ARG002
        return True

    def represent_quoted(self, data: _Quoted) -> yaml.ScalarNode:
        return yaml.ScalarNode("tag:yaml.org,2002:str", str(data), style='"')

    def represent_text(self, data: str) -> yaml.ScalarNode:
        # Certificates are read line by line.
        return yaml.ScalarNode("tag:yaml.org,2002:str", data, style="|" if "\n" in data else None)


_Dumper.add_representer(_Quoted, _Dumper.represent_quoted)
_Dumper.add_representer(str, _Dumper.represent_text)
_Dumper.add_representer(Scalar, lambda _, scalar: scalar.represent())


def _text(value: object) -> str | None:
    return unescape(value) if isinstance(value, str) else None
