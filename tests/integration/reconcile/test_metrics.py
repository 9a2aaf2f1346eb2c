"""What the metrics show of a real cluster, who may read them, and that what is drawn from them exists."""

import asyncio
import time
from datetime import UTC, datetime
from pathlib import Path

from kagenti_devcluster.testing.platform import (
    BINDING,
    OPENSHIFT_CRD,
    RBAC,
    SYSTEM,
    Platform,
    always,
    eventually,
    workload_path,
)
from kagenti_devcluster.testing.ports import free_port
from kagenti_operator.controllers.collector.delivery_diagnosis import REASONS
from kagenti_operator.runtime.telemetry.self_signed import build_self_signed
from tests.support.cluster import Cluster
from tests.support.mlflow import MLflow
from tests.support.operator_process import StartOperator
from tests.support.promql_queries import dashboard_queries, names_and_labels, rule_queries
from tests.support.scrape import expect, get, scrape, wait_for_server
from tests.support.served_certificate import read_served_names

READ_METRICS = {"nonResourceURLs": ["/metrics"], "verbs": ["get"]}
# Labels that a ServiceMonitor's targets have.
ADDED_BY_PROMETHEUS = {"namespace", "pod", "job", "instance", "service", "container", "endpoint"}


def plain(port: int) -> tuple[str, ...]:
    return (f"--metrics-bind-address=127.0.0.1:{port}", "--metrics-secure=false")


def secure(port: int) -> str:
    return f"--metrics-bind-address=127.0.0.1:{port}"


async def test_grants_configuration_and_reaction_are_measured(
    start_operator: StartOperator, platform: Platform, team: str
) -> None:
    port = free_port()
    await platform.managed_and_ready()
    await platform.workload(team, "early")
    began = time.time()
    operator = start_operator(*plain(port))
    await wait_for_server(operator)
    await expect(port, "kagenti_agent_namespaces", 1)
    await expect(port, "kagenti_agent_namespaces_granted", 1)
    await expect(port, "kagenti_agents", 1, state="waiting")
    await expect(port, "kagenti_mlflow_management_state", 1, state="Managed")
    await expect(port, "kagenti_mlflow_available", 1)
    await expect(port, "kagenti_mlflow_ready", 1)
    await expect(port, "kagenti_mlflow_cluster_role_found", 1)
    await expect(port, "kagenti_collector_config_in_place", 1)
    await expect(port, "kagenti_collector_found", 0)
    found = await scrape(port)
    since = found.value("kagenti_collector_config_timestamp_seconds")
    assert since is not None
    assert began - 1 <= since <= time.time() + 1
    # The agent that was there before has not been waiting for this operator.
    assert found.value("kagenti_agent_access_seconds_count") == 0

    other = f"{team}-other"
    await platform.namespace(other)
    await platform.workload(other, "late", annotations={"mlflow.kagenti.io/inject": "disabled"})
    await expect(port, "kagenti_agent_access_seconds_count", 1)
    await expect(port, "kagenti_agent_namespaces_granted", 2)
    await expect(port, "kagenti_agents", 1, state="opted_out")
    seconds = (await scrape(port)).value("kagenti_agent_access_seconds_sum")
    assert seconds is not None
    assert 0 < seconds < 60

    await platform.set_mlflow_endpoint(ready=False)
    await expect(port, "kagenti_mlflow_ready", 0)
    await platform.delete(workload_path(team, "early"))
    await expect(port, "kagenti_agent_namespaces", 1)
    await expect(port, "kagenti_agents", 0, state="waiting")


async def test_a_collector_that_does_not_run_differs_from_one_whose_configuration_is_not_in_place(
    start_operator: StartOperator, platform: Platform
) -> None:
    port = free_port()
    await wait_for_server(start_operator(*plain(port), features=("--enable-otel-bootstrap",)))
    await expect(port, "kagenti_collector_found", 0)
    await expect(port, "kagenti_collector_ready", 0)

    async def collector(*, replicas: int, image: str = "example.org/collector:1") -> None:
        await platform.workload(SYSTEM, "otel-collector", agent=False, replicas=replicas, image=image)

    async def report_pods(ready: bool) -> None:
        """Report what a node would report of the pods, were there one."""
        condition = {"type": "Ready", "status": str(ready)}
        pods = f"/api/v1/namespaces/{SYSTEM}/pods"
        found = await platform.request("GET", pods, params={"labelSelector": "app=otel-collector"})
        for pod in found["items"]:
            path = f"{pods}/{pod['metadata']['name']}/status"
            await platform.patch(path, {"status": {"conditions": [condition]}})

    async def becomes(ready: bool) -> None:
        async def shown() -> None:
            await report_pods(ready)
            assert (await scrape(port)).value("kagenti_collector_ready") == ready

        await eventually(shown)

    # None is wanted, so none takes spans.
    await collector(replicas=0)
    await expect(port, "kagenti_collector_config_in_place", 1)
    await expect(port, "kagenti_collector_found", 1)
    await expect(port, "kagenti_collector_ready", 0)
    await collector(replicas=1)
    await becomes(ready=True)
    await becomes(ready=False)
    await becomes(ready=True)
    # A new pod that crashes, beside which the old one stays.
    await collector(replicas=1, image="example.org/collector:2")
    await expect(port, "kagenti_collector_ready", 0)

    async def stays_so() -> None:
        assert (await scrape(port)).value("kagenti_collector_ready") == 0

    await always(stays_so, seconds=3)
    await becomes(ready=True)
    assert (await scrape(port)).value("kagenti_collector_config_in_place") == 1
    assert (await scrape(port)).value("kagenti_collector_found") == 1


async def test_an_agent_is_timed_until_it_has_access_and_not_at_all_when_it_goes_before(
    start_operator: StartOperator, platform: Platform, team: str
) -> None:
    port = free_port()
    await platform.managed_and_ready()
    await platform.set_mlflow_endpoint(ready=False)
    operator = start_operator(*plain(port))
    await wait_for_server(operator)
    await expect(port, "kagenti_collector_config_in_place", 1)
    for name in ("patient", "gone"):
        await platform.workload(team, name)
    await expect(port, "kagenti_agents", 2, state="waiting")
    waiting_since = time.monotonic()
    await platform.delete(workload_path(team, "gone"))
    await expect(port, "kagenti_agents", 1, state="waiting")
    assert (await scrape(port)).value("kagenti_agent_access_seconds_count") == 0
    waited = time.monotonic() - waiting_since
    await platform.set_mlflow_endpoint(ready=True)
    await expect(port, "kagenti_agent_access_seconds_count", 1)
    seconds = (await scrape(port)).value("kagenti_agent_access_seconds_sum")
    assert seconds is not None
    assert seconds >= waited


async def expect_refused(port: int, reason: str | None) -> None:
    for each in REASONS:
        await expect(port, "kagenti_spans_refused", each == reason, reason=each)


async def test_refusals_that_can_be_foreseen_are_shown(
    start_operator: StartOperator, platform: Platform, team: str
) -> None:
    port = free_port()
    await platform.install_crd(OPENSHIFT_CRD)
    await platform.managed_and_ready()
    operator = start_operator(*plain(port))
    await wait_for_server(operator)
    await expect_refused(port, "WorkspaceNotConfigured")
    operator.kill()

    await platform.set_mlflow_endpoint(ready=False)
    port = free_port()
    operator = start_operator(*plain(port), f"--mlflow-workspace={team}")
    await wait_for_server(operator)
    await expect_refused(port, "WorkspaceNotGranted")
    await platform.workload(team, "weather")
    other = f"{team}-other"
    await platform.namespace(other)
    await platform.workload(other, "news")
    await platform.set_mlflow_endpoint(ready=True)
    await expect_refused(port, None)
    await platform.set_state("Unmanaged")
    await platform.delete(f"{RBAC}/namespaces/{team}/rolebindings/{BINDING}")
    await expect(port, "kagenti_agent_namespaces_granted", 1)
    await expect_refused(port, None)
    # Another namespace's binding is nothing that spans depend on.
    await platform.set_state("Managed")
    await expect(port, "kagenti_agent_namespaces_granted", 2)
    await platform.set_mlflow_endpoint(ready=False)
    await expect(port, "kagenti_mlflow_ready", 0)
    await platform.delete(f"{RBAC}/namespaces/{other}/rolebindings/{BINDING}")
    await expect(port, "kagenti_agent_namespaces_granted", 1)
    await expect_refused(port, None)


async def test_who_may_read_is_asked_of_the_api_server(
    cluster: Cluster, start_operator: StartOperator, platform: Platform, team: str
) -> None:
    await platform.request(
        "POST", f"{RBAC}/clusterroles", {"metadata": {"name": f"reader-{team}"}, "rules": [READ_METRICS]}
    )
    for account in ("scraper", "curious"):
        body = {"metadata": {"name": account}}
        await platform.request("POST", f"/api/v1/namespaces/{team}/serviceaccounts", body)
    subject = {"kind": "ServiceAccount", "name": "scraper", "namespace": team}
    role = {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": f"reader-{team}"}
    binding = {"metadata": {"name": f"reader-{team}"}, "subjects": [subject], "roleRef": role}
    await platform.request("POST", f"{RBAC}/clusterrolebindings", binding)
    port = free_port()
    # A replica that waits for the lease is scraped too: its writes are held back, but not its questions.
    await wait_for_server(start_operator(secure(port), "--leader-elect"))
    url = f"https://127.0.0.1:{port}/metrics"

    async def ask(token: str | None) -> tuple[int, str]:
        return await asyncio.to_thread(get, url, token)

    assert (await ask(None))[0] == 401
    assert (await ask("made-up"))[0] == 401
    status, text = await ask(await cluster.token(team, "curious"))
    assert status == 403
    assert "nonResourceURL /metrics" in text
    status, text = await ask(await cluster.token(team, "scraper"))
    assert status == 200
    assert "leader_election_master_status" in text
    for kind in ("clusterrolebindings", "clusterroles"):
        await platform.delete(f"{RBAC}/{kind}/reader-{team}")


async def test_a_renewed_certificate_is_served(
    start_operator: StartOperator, platform: Platform, tmp_path: Path
) -> None:
    del platform
    port = free_port()

    def write(name: str) -> None:
        pem = build_self_signed([name], datetime.now(UTC))
        for file in ("metrics.crt", "metrics.key"):
            (tmp_path / file).write_bytes(pem)

    write("first.example")
    files = ("--metrics-cert-name=metrics.crt", "--metrics-cert-key=metrics.key")
    await wait_for_server(start_operator(secure(port), f"--metrics-cert-path={tmp_path}", *files))
    assert await read_served_names(port) == ["first.example"]
    write("second.example")
    assert await read_served_names(port) == ["second.example"]


async def test_what_alerts_and_dashboard_ask_for_is_there(
    start_with_mlflow: StartOperator, platform: Platform, mlflow: MLflow, team: str
) -> None:
    port = free_port()
    await platform.install_crd(OPENSHIFT_CRD)
    await platform.managed_and_ready(mlflow.url)
    await platform.workload(team, "weather")
    operator = start_with_mlflow(f"--mlflow-workspace={team}", "--leader-elect", *plain(port))
    await wait_for_server(operator)
    await expect(port, "kagenti_experiment_known", 1)
    await expect(port, "kagenti_agents", 1, state="configured")
    # Written together with what else changes within ten seconds.
    await expect(port, "kagenti_collector_config_in_place", 1)
    found = await scrape(port)
    contact = found.value("kagenti_mlflow_last_contact_timestamp_seconds")
    assert contact is not None
    assert abs(time.time() - contact) < 60
    exposed = found.labels()
    for where, query in (*rule_queries(), *dashboard_queries()):
        for name, labels in names_and_labels(query):
            assert name in exposed, f"{where}: nothing is called {name}"
            unknown = labels - exposed[name] - ADDED_BY_PROMETHEUS
            assert not unknown, f"{where}: {name} has no labels {unknown}"
