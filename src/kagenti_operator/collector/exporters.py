"""Exporter names: since collector 0.144 `otlphttp` and `otlp` are deprecated aliases of `otlp_http` and
`otlp_grpc`, and older collectors do not know the new ones.
"""

import re
from dataclasses import replace

from kagenti_operator.collector.model import Configuration

FIRST_MODERN_VERSION = (0, 144)
MODERN_TYPES = {"otlphttp": "otlp_http", "otlp": "otlp_grpc"}

# A major version of one digit: a date or a build number as tag tells nothing of the collector.
_VERSION_TAG = re.compile(r"v?([0-9])\.([0-9]{1,5})(?:[.\-_+].*)?", re.ASCII)


def has_modern_exporter_names(image: str) -> bool:
    """Whether the tag of the collector's image tells 0.144 or later.

    False where it cannot be told (`latest`, a digest alone): newer collectors know the old names too.
    """
    version = _VERSION_TAG.fullmatch(_tag(image))
    return version is not None and (int(version[1]), int(version[2])) >= FIRST_MODERN_VERSION


def _tag(image: str) -> str:
    reference, _, _digest = image.strip().partition("@")
    # Only behind the last slash: before it a colon is a registry's port.
    _name, _, tag = reference.rpartition("/")[2].partition(":")
    return tag


def modern_exporter_id(exporter_id: str) -> str:
    """`otlphttp/mlflow` becomes `otlp_http/mlflow`; ids of other types stay."""
    component_type, slash, name = exporter_id.partition("/")
    return MODERN_TYPES.get(component_type, component_type) + slash + name


def modernise_exporters(configuration: Configuration) -> Configuration:
    """The same configuration under the new exporter names."""
    return replace(
        configuration,
        exporters={modern_exporter_id(id_): settings for id_, settings in configuration.exporters.items()},
        pipelines={
            id_: replace(pipeline, exporters=tuple(map(modern_exporter_id, pipeline.exporters)))
            for id_, pipeline in configuration.pipelines.items()
        },
    )
