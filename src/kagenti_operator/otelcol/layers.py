"""Presets: parts of a configuration as YAML files in the collector's own format, and how parts are laid
over each other.
"""

from collections.abc import Iterable, Mapping
from functools import cache, reduce
from importlib.resources import files
from typing import Any, cast

import yaml

from kagenti_operator.otelcol.model import Configuration, Pipeline, Settings


@cache
def load_preset(name: str) -> Configuration:
    """Read `presets/<name>.yaml`."""
    text = files("kagenti_operator.otelcol").joinpath("presets", f"{name}.yaml").read_text(encoding="utf-8")
    sections: dict[str, Any] = yaml.safe_load(text)
    service: dict[str, dict[str, dict[str, list[str]]]] = sections.pop("service", {})
    pipelines = {
        pipeline_id: Pipeline(**{role: tuple(ids) for role, ids in pipeline.items()})
        for pipeline_id, pipeline in service.get("pipelines", {}).items()
    }
    return Configuration(**sections, pipelines=pipelines)


def merge_layers(layers: Iterable[Configuration]) -> Configuration:
    """Lay each part over the ones before it: settings are merged key by key, the later value wins."""
    return reduce(_lay_over, layers, Configuration())


def _lay_over(below: Configuration, above: Configuration) -> Configuration:
    return Configuration(
        extensions=_merge(below.extensions, above.extensions),
        receivers=_merge(below.receivers, above.receivers),
        processors=_merge(below.processors, above.processors),
        exporters=_merge(below.exporters, above.exporters),
        pipelines={**below.pipelines, **above.pipelines},
    )


def _merge(below: Mapping[str, Any], above: Mapping[str, Any]) -> dict[str, Any]:
    merged = dict(below)
    for key, value in above.items():
        under = merged.get(key)
        if isinstance(value, Mapping) and isinstance(under, Mapping):
            merged[key] = _merge(cast("Settings", under), cast("Settings", value))
        else:
            merged[key] = value
    return merged
