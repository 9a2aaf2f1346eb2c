"""What the operator asks for only where it is on OpenShift, and that it finds out late as well."""

from collections.abc import AsyncIterator

import pytest

from kagenti_devcluster.testing.platform import (
    OPENSHIFT_CRD,
    SYSTEM,
    Platform,
    config_map_path,
    eventually,
)
from tests.support.agents import Agents
from tests.support.chart_permissions import granted_account
from tests.support.cluster import Cluster
from tests.support.mlflow import MLflow
from tests.support.operator_process import StartOperator
from tests.support.recorded_requests import RecordRequests, collect_requests, read_audit_log

ACCOUNT = "plain-operator"
USER = f"system:serviceaccount:{SYSTEM}:{ACCOUNT}"


@pytest.fixture
async def plain_account(platform: Platform) -> AsyncIterator[str]:
    """An account with all that the chart grants on Kubernetes without OpenShift; gone after the test."""
    async with granted_account(platform, ACCOUNT, openshift=False):
        yield ACCOUNT


async def test_without_openshift_nothing_that_the_operator_asks_for_is_refused(
    cluster: Cluster,
    start_with_mlflow: StartOperator,
    agents: Agents,
    platform: Platform,
    mlflow: MLflow,
    plain_account: str,
    record_requests: RecordRequests,
) -> None:
    await platform.managed_and_ready(mlflow.url)
    await agents.create("weather")
    kubeconfig = await cluster.service_account_kubeconfig(SYSTEM, plain_account)
    operator = start_with_mlflow("--leader-elect", kubeconfig=kubeconfig)
    await operator.expect_log("OTel collector bootstrap complete")
    await agents.expect_configured("weather")
    assert operator.stop() == 0
    audit_log = cluster.control_plane.audit_log
    asked = collect_requests(read_audit_log(audit_log, USER))
    assert {"configmaps", "rolebindings", "deployments"} <= {request.resource for request in asked}
    assert [str(request) for request in asked if request.refusal] == []
    record_requests(audit_log, USER)


async def test_openshift_that_is_found_late_has_its_certificates_bundled(
    start_operator: StartOperator, platform: Platform
) -> None:
    await platform.config_map(
        "openshift-config-managed", "default-ingress-cert", {"ca-bundle.crt": "INGRESS"}
    )
    operator = start_operator()
    await operator.expect_log("OTel collector bootstrap complete")
    assert await platform.get(config_map_path(SYSTEM, "otel-ingress-ca")) is None
    await platform.install_crd(OPENSHIFT_CRD)

    async def bundled() -> None:
        found = await platform.get(config_map_path(SYSTEM, "otel-ingress-ca"))
        assert found is not None
        assert found["data"]["ca-bundle.crt"].startswith("INGRESS\n-----BEGIN CERTIFICATE-----")

    await eventually(bundled)
