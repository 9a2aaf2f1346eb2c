"""What is read back of the configuration in place, seen by an API server that a test plays."""

import asyncio
from pathlib import Path

import msgspec
import trustme
import yaml

from kagenti_operator.contract import COLLECTOR_CONFIG, COLLECTOR_CONFIG_KEY, KAGENTI
from kagenti_operator.controllers.collector.config import CollectorConfigReconciler
from kagenti_operator.controllers.collector.experiment_record import CollectorExperiments
from kagenti_operator.controllers.collector.facts import CollectorFacts
from kagenti_operator.controllers.collector.sources import MLflowSources
from kagenti_operator.controllers.mlflow.facts import MLflowFacts
from kagenti_operator.controllers.mlflow.traces_url import TracesURL
from kagenti_operator.controllers.settings import Settings
from kagenti_operator.kube.objects.models import ConfigMap, MLflow
from kagenti_operator.otelcol.model import Facts, MLflowDestination
from kagenti_operator.otelcol.render import config_hash, render
from kagenti_operator.runtime.control.applier import CONFIRM_SECONDS
from kagenti_operator.runtime.observable import Observable
from tests.support.peer import Peer, running_peer
from tests.unit.controllers.dependencies import open_dependencies, put

MLFLOWS = "/apis/mlflow.opendatahub.io/v1/mlflows"
AWAY = msgspec.convert({"metadata": {"name": "mlflow"}}, MLflow)


def config_map(experiment_id: str, *, ca: str | None = None) -> ConfigMap:
    destination = MLflowDestination(
        traces_endpoint="https://mlflow:8443/v1/traces", workspace="team1", experiment_id=experiment_id
    )
    text = render(
        Facts(
            openshift=False,
            mlflow_ca=ca,
            mlflow=destination,
            phoenix=False,
            ingress_ca=False,
            modern_exporter_names=False,
        )
    )
    annotations = {KAGENTI.config_hash_annotation: config_hash(text)}
    meta = {"name": COLLECTOR_CONFIG, "namespace": "kagenti-system", "annotations": annotations}
    return msgspec.convert({"metadata": meta, "data": {COLLECTOR_CONFIG_KEY: text}}, ConfigMap)


async def written(reconciler: CollectorConfigReconciler, peer: Peer) -> str:
    reconciling = asyncio.ensure_future(reconciler.reconcile())
    request = await peer.request()
    assert (request.method, request.path.rpartition("/")[2]) == ("PATCH", COLLECTOR_CONFIG)
    body = msgspec.json.decode(request.body)
    await request.answer(200, body)
    await reconciling
    return body["data"][COLLECTOR_CONFIG_KEY]


async def test_after_the_platforms_operator_the_destination_is_read_from_what_that_one_wrote() -> None:
    settings = Settings(enable_otel_bootstrap=True, mlflow_workspace="team1")
    async with running_peer() as peer, open_dependencies(settings, peer.url) as dependencies:
        mlflow, facts = MLflowFacts(dependencies.informers), CollectorFacts(dependencies, Observable(False))
        own = CollectorExperiments(settings, None)
        sources = MLflowSources(mlflow, own, Observable[TracesURL | None](None))
        reconciler = CollectorConfigReconciler(dependencies, facts, sources, settle_seconds=0)
        put(mlflow.mlflows, AWAY)
        put(facts.config_map, config_map("1"))
        assert 'x-mlflow-experiment-id: "1"' in await written(reconciler, peer)
        dependencies.suspended.configuration.set(True)
        put(facts.config_map, config_map("2"))
        dependencies.suspended.configuration.set(False)
        assert 'x-mlflow-experiment-id: "2"' in await written(reconciler, peer)


async def test_a_new_leader_whose_ca_file_is_broken_leaves_the_collector_the_ca_that_it_has(
    tmp_path: Path,
) -> None:
    certificate = trustme.CA().cert_pem.bytes().decode()
    (tmp_path / "ca.crt").write_text("broken")
    settings = Settings(
        enable_otel_bootstrap=True, mlflow_workspace="team1", mlflow_ca_file=tmp_path / "ca.crt"
    )
    async with running_peer() as peer, open_dependencies(settings, peer.url) as dependencies:
        mlflow, facts = MLflowFacts(dependencies.informers), CollectorFacts(dependencies, Observable(False))
        sources = MLflowSources(
            mlflow, CollectorExperiments(settings, None), Observable[TracesURL | None](None)
        )
        reconciler = CollectorConfigReconciler(dependencies, facts, sources)
        put(mlflow.mlflows, AWAY)
        put(facts.config_map, config_map("1", ca=certificate))
        text = await written(reconciler, peer)
    assert yaml.safe_load(text)["exporters"]["otlphttp/mlflow"]["tls"]["ca_pem"] == certificate


async def test_mlflow_leaves_the_configuration_only_once_the_api_server_itself_has_no_cr() -> None:
    settings = Settings(enable_otel_bootstrap=True, mlflow_workspace="team1")
    async with running_peer() as peer, open_dependencies(settings, peer.url) as dependencies:
        mlflow, facts = MLflowFacts(dependencies.informers), CollectorFacts(dependencies, Observable(False))
        sources = MLflowSources(
            mlflow, CollectorExperiments(settings, None), Observable[TracesURL | None](None)
        )
        reconciler = CollectorConfigReconciler(dependencies, facts, sources, settle_seconds=0)
        put(facts.config_map, config_map("1"))
        for items in ([{"metadata": {"name": "mlflow"}}], []):
            reconciling = asyncio.ensure_future(reconciler.reconcile())
            asked = await peer.request()
            assert (asked.method, asked.path.partition("?")[0]) == ("GET", MLFLOWS)
            await asked.answer(200, {"metadata": {"resourceVersion": "9"}, "items": items})
            if items:
                assert await reconciling == CONFIRM_SECONDS
        request = await peer.request()
        assert request.method == "PATCH"
        body = msgspec.json.decode(request.body)
        await request.answer(200, body)
        await reconciling
    assert "mlflow" not in body["data"][COLLECTOR_CONFIG_KEY]
