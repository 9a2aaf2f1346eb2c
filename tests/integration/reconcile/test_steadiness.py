"""What the operator does when nothing changes, when the API server goes away, and when its leader dies."""

import asyncio
import json
import signal
import time
from datetime import datetime
from pathlib import Path

import pytest

from kagenti_devcluster.testing.platform import (
    MLFLOW_NAMESPACE,
    OPENSHIFT_CRD,
    SYSTEM,
    Object,
    Platform,
    config_map_path,
    eventually,
)
from kagenti_operator.contract import KAGENTI
from kagenti_operator.runtime.election.lease import Lease, LeaseClient
from tests.support.agents import Agents
from tests.support.cluster import Cluster
from tests.support.collector import (
    CA_HASH,
    expect_binding,
    expect_headers,
    expect_rolled,
    install_collector,
)
from tests.support.mlflow import MLflow
from tests.support.operator_process import OperatorProcess, StartOperator

AGENT = "kagenti-operator"
QUIET_SECONDS = 60.0
SETTLED_SECONDS = 10.0
SETTLED_WITHIN_SECONDS = 90.0


def requests_since(audit_log: Path, offset: int) -> list[Object]:
    """The operator's requests that the API server noted after that byte of its audit log."""
    with audit_log.open("rb") as log:
        log.seek(offset)
        entries = [json.loads(line) for line in log if line.endswith(b"\n")]
    mine = [e for e in entries if e.get("userAgent", "").startswith(AGENT)]
    return [e for e in mine if e["stage"] == "ResponseComplete"]


def beyond_lease_and_watches(requests: list[Object]) -> list[tuple[str, str]]:
    return [
        (e["verb"], e["requestURI"])
        for e in requests
        if e["objectRef"]["resource"] != "leases" and e["verb"] != "watch"
    ]


async def requests_during(audit_log: Path, seconds: float) -> list[Object]:
    offset = audit_log.stat().st_size
    await asyncio.sleep(seconds)
    return requests_since(audit_log, offset)


async def wait_until_settled(audit_log: Path) -> None:
    """Return when what the last changes brought about, Events among it, is through."""
    deadline = time.monotonic() + SETTLED_WITHIN_SECONDS
    while others := beyond_lease_and_watches(await requests_during(audit_log, SETTLED_SECONDS)):
        assert time.monotonic() < deadline, f"still asked for after {SETTLED_WITHIN_SECONDS:.0f} s: {others}"


async def test_nothing_is_requested_while_nothing_differs(
    cluster: Cluster, agents: Agents, start_with_mlflow: StartOperator, platform: Platform, mlflow: MLflow
) -> None:
    """On a cluster that has everything: OpenShift with its CAs, MLflow with a workspace, collector, agent."""
    await platform.install_crd(OPENSHIFT_CRD)
    # The controller manager puts kube-root-ca.crt into every namespace.
    await platform.config_map("openshift-config-managed", "default-ingress-cert", {"ca-bundle.crt": "A"})
    await platform.config_map(SYSTEM, "openshift-service-ca.crt", {"service-ca.crt": "B"})
    await platform.managed_and_ready(mlflow.url)
    await install_collector(platform)
    await agents.create("weather")
    running = start_with_mlflow("--leader-elect", f"--mlflow-workspace={agents.namespace}")
    await agents.expect_configured("weather")
    await expect_binding(platform, agents.namespace)
    experiment = await running.expect_log("Created/found MLflow experiment")
    config = await expect_headers(platform, agents.namespace, experiment["experimentID"])
    rolled = await expect_rolled(platform, config)
    assert CA_HASH in rolled["spec"]["template"]["metadata"]["annotations"]
    assert await platform.get(config_map_path(SYSTEM, "otel-ingress-ca")) is not None
    audit_log = cluster.control_plane.audit_log
    await wait_until_settled(audit_log)
    seen = await requests_during(audit_log, QUIET_SECONDS)
    assert beyond_lease_and_watches(seen) == []
    assert seen, "the lease is renewed, so the audit log must show the operator"


async def test_the_operator_follows_through_a_restart_of_the_api_server(
    cluster: Cluster, start_operator: StartOperator, platform: Platform, team: str
) -> None:
    await platform.managed_and_ready()
    await platform.workload(team, "weather")
    running = start_operator()
    await expect_binding(platform, team)
    cluster.control_plane.kill_apiserver()
    cluster.control_plane.start_apiserver()
    later = f"{team}-later"

    async def back() -> None:
        try:
            await platform.namespace(later)
            await platform.workload(later, "news")
        except Exception as error:
            raise AssertionError(str(error)) from error

    await eventually(back)
    await expect_binding(platform, later)
    assert running.process.poll() is None
    await platform.delete(config_map_path(SYSTEM, "otel-collector-config"))

    async def restored() -> None:
        assert await platform.get(config_map_path(SYSTEM, "otel-collector-config")) is not None

    await eventually(restored)


@pytest.fixture
async def replicas(
    start_operator: StartOperator, platform: Platform
) -> tuple[OperatorProcess, OperatorProcess]:
    """A leader at work, and a replica that waits for the lease."""
    await platform.managed_and_ready()
    first = start_operator("--leader-elect")
    await expect_binding(platform, MLFLOW_NAMESPACE)
    second = start_operator("--leader-elect")
    await second.expect_log("Not leading")
    return first, second


async def test_the_second_replica_takes_over_when_the_leader_is_killed(
    replicas: tuple[OperatorProcess, OperatorProcess], platform: Platform, team: str
) -> None:
    first, second = replicas
    first.process.kill()
    await platform.workload(team, "weather")
    await expect_binding(platform, team)
    assert second.process.poll() is None


async def test_an_orderly_stop_hands_the_lease_over_at_once(
    replicas: tuple[OperatorProcess, OperatorProcess], platform: Platform
) -> None:
    leader, _ = replicas
    leases = LeaseClient(platform.admin, SYSTEM, KAGENTI.lease)
    before = await leases.get()
    assert before is not None
    assert await asyncio.to_thread(leader.stop) == 0

    async def taken() -> Lease:
        now = await leases.get()
        assert now is not None
        assert now.holder not in ("", before.holder)
        return now

    after = await eventually(taken)
    renewed, acquired = (
        datetime.fromisoformat(lease.record[key])
        for lease, key in ((before, "renewTime"), (after, "acquireTime"))
    )
    # Nobody takes a lease that was not released before it has run out.
    assert (acquired - renewed).total_seconds() < before.duration


async def test_a_leader_that_was_stopped_does_not_write_when_it_wakes_up(
    cluster: Cluster, replicas: tuple[OperatorProcess, OperatorProcess], platform: Platform, team: str
) -> None:
    first, _ = replicas
    first.process.send_signal(signal.SIGSTOP)
    await platform.workload(team, "weather")
    await expect_binding(platform, team)
    offset = cluster.control_plane.audit_log.stat().st_size
    # What it saw last was a namespace without a grant: were it not fenced, it would write now.
    await platform.delete(
        f"/apis/rbac.authorization.k8s.io/v1/namespaces/{team}/rolebindings/otel-collector-mlflow"
    )
    first.process.send_signal(signal.SIGCONT)
    assert await asyncio.to_thread(first.process.wait, 60) == 1
    await expect_binding(platform, team)
    entries = requests_since(cluster.control_plane.audit_log, offset)
    writes = [e for e in entries if e["verb"] in ("create", "patch", "update", "delete")]
    # The test itself deleted one.
    bindings = [e for e in writes if e["objectRef"]["resource"] == "rolebindings" and e["verb"] != "delete"]
    assert len(bindings) == 1
