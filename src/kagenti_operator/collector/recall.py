"""Reads back what an earlier operator process wrote, so that a restart while MLflow is away loses nothing."""

from collections.abc import Mapping
from typing import Any, cast

import yaml

from kagenti_operator.collector.assemble import EXPERIMENT_HEADER, MLFLOW_EXPORTER, WORKSPACE_HEADER, unescape
from kagenti_operator.collector.exporters import modern_exporter_id
from kagenti_operator.collector.model import MLflowDestination
from kagenti_operator.collector.render import config_hash


def last_known_destination(yaml_text: str, annotated_hash: str | None) -> MLflowDestination | None:
    """The MLflow destination of a configuration that `render` wrote.

    None where it has none, and where the text is not what the operator wrote: then the annotated hash does
    not fit, and an address somebody typed into the ConfigMap must not outlive the edit.
    """
    if annotated_hash != config_hash(yaml_text):
        return None
    try:
        document: object = yaml.safe_load(yaml_text)
    except yaml.YAMLError:
        return None
    exporters = _mapping(_mapping(document).get("exporters"))
    settings = _mapping(exporters.get(MLFLOW_EXPORTER) or exporters.get(modern_exporter_id(MLFLOW_EXPORTER)))
    headers = _mapping(settings.get("headers"))
    try:
        return MLflowDestination(
            traces_endpoint=_text(settings.get("traces_endpoint")) or "",
            workspace=_text(headers.get(WORKSPACE_HEADER)),
            experiment_id=_text(headers.get(EXPERIMENT_HEADER)),
        )
    except ValueError:
        return None


def _mapping(value: object) -> Mapping[str, Any]:
    return cast("Mapping[str, Any]", value) if isinstance(value, Mapping) else {}


def _text(value: object) -> str | None:
    return unescape(value) if isinstance(value, str) else None
