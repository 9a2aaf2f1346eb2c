"""The one renderer: a configuration becomes YAML text, the same text for the same facts, for ever.

The text is hashed and a changed hash rolls the collector, so its order is explicit here: sections as in
`_document`, components in the order in which assemble.py lays them.
"""

import hashlib
from typing import Any

import yaml

from kagenti_operator.collector.assemble import assemble
from kagenti_operator.collector.model import Configuration, Facts, Pipeline, Settings

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
        allow_unicode=True,
        # A folded line would hide a change of a word behind a change of the folding.
        width=2**31,
    )


def config_hash(yaml_text: str) -> str:
    """Sha256 of the text in hex, as in annotation `kagenti.io/otel-config-hash`."""
    return hashlib.sha256(yaml_text.encode()).hexdigest()


def _document(configuration: Configuration) -> dict[str, Any]:
    sections = {
        "extensions": configuration.extensions,
        "receivers": configuration.receivers,
        "processors": configuration.processors,
        "connectors": configuration.connectors,
        "exporters": {id_: _quote_headers(it) for id_, it in configuration.exporters.items()},
    }
    service = {
        "extensions": list(configuration.extensions),
        "pipelines": {id_: _pipeline(it) for id_, it in configuration.pipelines.items()},
    }
    return {name: components for name, components in sections.items() if components} | {"service": service}


def _pipeline(pipeline: Pipeline) -> dict[str, list[str]]:
    return {
        "receivers": list(pipeline.receivers),
        "processors": list(pipeline.processors),
        "exporters": list(pipeline.exporters),
    }


def _quote_headers(settings: Settings) -> Settings:
    # The collector's YAML reader takes more plain words for numbers than ours (`1e3`, `0o7`).
    if "headers" not in settings:
        return settings
    return {**settings, "headers": {name: _Quoted(value) for name, value in settings["headers"].items()}}


class _Quoted(str):
    """A string that is always written in quotes."""


class _Dumper(yaml.SafeDumper):
    def ignore_aliases(self, data: Any) -> bool:  # noqa: ARG002
        return True

    def represent_quoted(self, data: _Quoted) -> yaml.ScalarNode:
        return yaml.ScalarNode("tag:yaml.org,2002:str", str(data), style='"')


_Dumper.add_representer(_Quoted, _Dumper.represent_quoted)
