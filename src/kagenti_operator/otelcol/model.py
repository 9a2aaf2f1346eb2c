"""The facts that decide the collector's configuration, and the configuration itself, both frozen.

The configuration carries any number of destinations: each is an exporter with its pipeline, and a
connector can route between them. How they are named and ordered in YAML is render.py's business.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

type Settings = Mapping[str, Any]
"""Settings of one component as the collector reads them; never mutated."""

type Components = Mapping[str, Settings]
"""Components by id (`type` or `type/name`), in the order in which they are written."""


@dataclass(frozen=True, kw_only=True)
class MLflowDestination:
    """Where spans go in MLflow.

    `traces_endpoint` is the whole URL of OTLP ingestion. A workspace has no use without an experiment and
    an experiment id means nothing outside its workspace, so one without the other is a ValueError.
    """

    traces_endpoint: str
    workspace: str | None = None
    experiment_id: str | None = None

    def __post_init__(self) -> None:
        if not self.traces_endpoint:
            raise ValueError("an MLflow destination needs the URL of its OTLP endpoint")
        if self.workspace == "" or self.experiment_id == "":
            raise ValueError("workspace and experiment id are None where there is none, never empty")
        if (self.workspace is None) != (self.experiment_id is None):
            raise ValueError(
                "workspace and experiment id go together: "
                f"got workspace {self.workspace!r} and experiment id {self.experiment_id!r}"
            )


@dataclass(frozen=True, kw_only=True)
class Facts:
    """Everything that was discovered and changes the configuration.

    `ingress_ca`: ConfigMap `otel-ingress-ca` is mounted, `modern_exporter_names` that the
    collector knows `otlp_http` and `otlp_grpc` (exporters.py), `memory_bytes` what the collector's container
    may take at most, None where it has no limit. `oauth_client`: the collector has what an OAuth client needs
    in its environment, used elsewhere than on OpenShift; `mlflow_ca`: PEM certificates by which MLflow is
    verified there, beside the system's; `mlflow_allow_http`: the collector's token may go to `http://`.
    """

    openshift: bool
    mlflow: MLflowDestination | None
    phoenix: bool
    ingress_ca: bool
    modern_exporter_names: bool
    memory_bytes: int | None = None
    oauth_client: bool = False
    mlflow_ca: str | None = None
    mlflow_allow_http: bool = False


@dataclass(frozen=True, kw_only=True)
class Pipeline:
    """Component ids of one pipeline, in the order in which data passes them."""

    receivers: tuple[str, ...]
    processors: tuple[str, ...] = ()
    exporters: tuple[str, ...]


@dataclass(frozen=True, kw_only=True)
class Configuration:
    """A collector configuration, or a part of one. Every extension in it is also switched on.

    `telemetry`: the collector's own, of which the operator writes nothing.
    """

    extensions: Components = field(default_factory=dict[str, Settings])
    receivers: Components = field(default_factory=dict[str, Settings])
    processors: Components = field(default_factory=dict[str, Settings])
    exporters: Components = field(default_factory=dict[str, Settings])
    connectors: Components = field(default_factory=dict[str, Settings])
    telemetry: Settings = field(default_factory=dict[str, Any])
    pipelines: Mapping[str, Pipeline] = field(default_factory=dict[str, Pipeline])
