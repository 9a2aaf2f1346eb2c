"""Pure: discovered facts in, OpenTelemetry Collector configuration out."""

from kagenti_operator.otelcol.model import Facts, MLflowDestination
from kagenti_operator.otelcol.render import config_hash, last_known_destination, render
from kagenti_operator.otelcol.versions import has_modern_exporter_names, keeps_first_token

__all__ = [
    "Facts",
    "MLflowDestination",
    "config_hash",
    "has_modern_exporter_names",
    "keeps_first_token",
    "last_known_destination",
    "render",
]
