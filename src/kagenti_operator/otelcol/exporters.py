"""Exporter names: since collector 0.144 `otlphttp` and `otlp` are deprecated aliases of `otlp_http` and
`otlp_grpc`, and older collectors do not know the new ones.
"""

from collections.abc import Mapping
from dataclasses import replace

from kagenti_operator.otelcol.model import Configuration

MODERN_TYPES = {"otlphttp": "otlp_http", "otlp": "otlp_grpc"}
LEGACY_TYPES = {modern: legacy for legacy, modern in MODERN_TYPES.items()}


def rename_type(component_id: str, types: Mapping[str, str]) -> str:
    """The id with the type that these give its type; ids of other types stay."""
    component_type, slash, name = component_id.partition("/")
    return types.get(component_type, component_type) + slash + name


def modern_exporter_id(exporter_id: str) -> str:
    """`otlphttp/mlflow` becomes `otlp_http/mlflow`; ids of other types stay."""
    return rename_type(exporter_id, MODERN_TYPES)


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
