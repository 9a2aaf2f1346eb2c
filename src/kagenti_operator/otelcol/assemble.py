"""From facts to the configuration: which presets are laid over each other, and what only facts can say."""

from collections.abc import Iterator
from dataclasses import asdict

from kagenti_operator.contract import EXPERIMENT_HEADER, WORKSPACE_HEADER
from kagenti_operator.otelcol.exporters import modernise_exporters
from kagenti_operator.otelcol.layers import load_preset, merge_layers
from kagenti_operator.otelcol.memory import fit_memory_limits
from kagenti_operator.otelcol.model import Configuration, Facts, MLflowDestination

MLFLOW_EXPORTER = "otlphttp/mlflow"


def assemble(facts: Facts) -> Configuration:
    """The whole configuration for these facts."""
    configuration = merge_layers(_layers(facts))
    return modernise_exporters(configuration) if facts.modern_exporter_names else configuration


def _layers(facts: Facts) -> Iterator[Configuration]:
    yield load_preset("base")
    if facts.memory_bytes is not None:
        limits = fit_memory_limits(facts.memory_bytes)
        yield Configuration(processors={"memory_limiter": asdict(limits)})
    if facts.mlflow is None and not facts.phoenix:
        yield load_preset("default")
    if facts.mlflow is not None:
        yield load_preset("mlflow")
        yield from _mlflow_access(facts, facts.mlflow.traces_endpoint)
        yield _mlflow_destination(facts.mlflow)
    if facts.phoenix:
        yield load_preset("phoenix")


def _mlflow_access(facts: Facts, endpoint: str) -> Iterator[Configuration]:
    if not facts.openshift and facts.oauth_client:
        yield load_preset("mlflow-oauth2client")
        if facts.ingress_ca:
            yield load_preset("mlflow-oauth2client-ingress-ca")
        return
    if facts.mlflow_allow_http or not is_plain_http(endpoint):
        yield load_preset("mlflow-token")
    yield load_preset("mlflow-kubernetes")
    if is_plain_http(endpoint):
        return
    if facts.openshift:
        yield load_preset("mlflow-openshift")
    elif facts.mlflow_ca:
        # By value: nothing of the operator's is mounted in the collector.
        tls = {"ca_pem": facts.mlflow_ca, "include_system_ca_certs_pool": True}
        yield Configuration(exporters={MLFLOW_EXPORTER: {"tls": tls}})


def _mlflow_destination(destination: MLflowDestination) -> Configuration:
    settings: dict[str, object] = {"traces_endpoint": escape(destination.traces_endpoint)}
    if destination.workspace is not None and destination.experiment_id is not None:
        settings["headers"] = {
            WORKSPACE_HEADER: escape(destination.workspace),
            EXPERIMENT_HEADER: escape(destination.experiment_id),
        }
    return Configuration(exporters={MLFLOW_EXPORTER: settings})


def is_plain_http(url: str) -> bool:
    """Whether what is sent to that URL can be read on its way."""
    return not url.lower().startswith("https://")


def escape(value: str) -> str:
    """Keep the collector from expanding `${...}` in a value that came from the cluster."""
    return value.replace("$", "$$")


def unescape(value: str) -> str:
    """The inverse of `escape`."""
    return value.replace("$$", "$")
