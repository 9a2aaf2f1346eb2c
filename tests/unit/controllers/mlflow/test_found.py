"""What is logged of MLflow, whichever switch made the operator look for it."""

import asyncio
from dataclasses import replace

import msgspec
import pytest
from structlog.testing import capture_logs

from kagenti_operator import contract
from kagenti_operator.controllers.mlflow.facts import MLflowFacts
from kagenti_operator.controllers.mlflow.found import FoundReconciler
from kagenti_operator.controllers.mlflow.traces_url import TracesURL
from kagenti_operator.controllers.settings import Settings
from kagenti_operator.controllers.setup import build_features
from kagenti_operator.kube.objects.models import MLflow
from kagenti_operator.runtime.observable import Observable
from tests.support.virtual_time import settle
from tests.unit.controllers.dependencies import open_dependencies, put

ADDRESS = "https://mlflow.team.svc:8443"


def cr(address: str) -> MLflow:
    status = {"conditions": [{"type": "Available", "status": "True"}], "address": {"url": address}}
    return msgspec.convert({"metadata": {"name": "mlflow"}, "status": status}, MLflow)


@pytest.mark.parametrize("switch", ["enable_mlflow", "enable_otel_bootstrap"])
async def test_mlflow_is_found_with_either_switch_also_beside_the_platforms_operator(switch: str) -> None:
    settings = replace(Settings(), **{switch: True})
    async with open_dependencies(settings) as dependencies:
        dependencies.suspended.mlflow.set(True)
        features = build_features(dependencies)
        (discovery,) = (feature for feature in features if feature.name == "mlflow-discovery")
        MLflowFacts(dependencies.informers).mlflows.cache.replace({})
        with capture_logs() as logs:
            async with asyncio.TaskGroup() as group:
                for controller in discovery.controllers:
                    group.create_task(controller.run())
                await settle()
                for controller in discovery.controllers:
                    controller.stop()
    assert [line["event"] for line in logs] == [contract.LOG_CRD_DETECTED]


async def test_what_is_found_is_logged_once_and_again_when_it_changes() -> None:
    traces = Observable[TracesURL | None](TracesURL(ADDRESS, f"{ADDRESS}/v1/traces"))
    async with open_dependencies(Settings(enable_otel_bootstrap=True)) as dependencies:
        facts = MLflowFacts(dependencies.informers)
        reconciler = FoundReconciler(dependencies, facts, traces)
        with capture_logs() as logs:
            facts.mlflows.cache.replace({})
            await reconciler.reconcile()
            put(facts.mlflows, cr(ADDRESS))
            await reconciler.reconcile()
            await reconciler.reconcile()
            traces.set(TracesURL(ADDRESS, f"{ADDRESS}/mlflow/v1/traces"))
            await reconciler.reconcile()
    lines = [(line["event"], line.get("tracesURL")) for line in logs]
    assert lines == [
        (contract.LOG_CRD_DETECTED, None),
        (contract.LOG_CR_AVAILABLE, f"{ADDRESS}/v1/traces"),
        (contract.LOG_CR_AVAILABLE, f"{ADDRESS}/mlflow/v1/traces"),
    ]
