"""The collector's configuration and its rollout, on a real API server."""

from collections.abc import Mapping
from typing import Any

import pytest

from kagenti_devcluster.testing.platform import (
    DSC_CRD,
    MLFLOW_CRD,
    MLFLOWS,
    OPENSHIFT_CRD,
    SYSTEM,
    Object,
    Platform,
    build_service,
    config_map_path,
    eventually,
)
from tests.support.collector import (
    CA_HASH,
    COLLECTOR,
    CONFIG,
    expect_config,
    expect_rolled,
    install_collector,
    parsed,
)
from tests.support.expectations import expect_event, expect_unchanged
from tests.support.operator_process import StartOperator

INGRESS_CA = config_map_path(SYSTEM, "otel-ingress-ca")
ADDRESS = "https://mlflow.redhat-ods-applications.svc:8443"
BOOTSTRAP_ONLY = ("--enable-otel-bootstrap",)


async def test_an_empty_cluster_gets_a_configuration_that_only_shows_spans(
    start_operator: StartOperator, platform: Platform
) -> None:
    running = start_operator()
    config = await expect_config(platform, "traces/default")
    assert config["metadata"]["labels"]["app.kubernetes.io/managed-by"] == "kagenti-operator"
    await running.expect_log("OTel collector bootstrap complete")


@pytest.mark.parametrize("earlier", [False, True], ids=["made by the operator", "made by somebody before"])
async def test_the_operators_deployment_owns_the_configuration(
    start_operator: StartOperator, platform: Platform, *, earlier: bool
) -> None:
    if earlier:
        await platform.config_map(SYSTEM, "otel-collector-config", {"base.yaml": "service: {pipelines: {}}"})
    operator = await platform.workload(SYSTEM, "kagenti-controller-manager", agent=False)
    start_operator(features=BOOTSTRAP_ONLY)
    config = await expect_config(platform, "traces/default")
    assert [owner["uid"] for owner in config["metadata"]["ownerReferences"]] == [operator["metadata"]["uid"]]


async def test_a_late_collector_is_rolled_to_the_names_that_its_version_knows(
    start_operator: StartOperator, platform: Platform
) -> None:
    await platform.put(f"/api/v1/namespaces/{SYSTEM}/services/phoenix", build_service("phoenix"))
    start_operator()
    config = await expect_config(platform, "traces/phoenix")
    assert "otlp/phoenix" in parsed(config)["exporters"]
    await install_collector(platform)

    async def modern() -> Object:
        found = await expect_config(platform, "traces/phoenix")
        assert "otlp_grpc/phoenix" in parsed(found)["exporters"]
        return found

    await expect_rolled(platform, await eventually(modern))


EXTRA = config_map_path(SYSTEM, "otel-collector-extra")
TEMPO = """\
exporters: {otlp_http/tempo: {endpoint: "http://tempo:4318", headers: {tenant: "7"}}}
service: {pipelines: {traces/tempo: {receivers: [otlp], exporters: [otlp_http/tempo]}}}
"""


# With it MLflow's destination is complete without a workspace.
OAUTH_CLIENT: list[Mapping[str, Any]] = [{"name": "MLFLOW_CLIENT_ID", "value": "collector"}]
HELMS = """\
receivers: {otlp: {protocols: {http: {}}}}
exporters: {debug: {}, otlphttp/tempo: {endpoint: "http://tempo:4318"}}
service: {pipelines: {traces: {receivers: [otlp], exporters: [debug, otlphttp/tempo]}}}
"""


async def test_a_configuration_that_works_is_kept_until_ours_is_complete_and_goes_in_one_roll(
    start_operator: StartOperator, platform: Platform
) -> None:
    before = await platform.config_map(SYSTEM, "otel-collector-config", {"base.yaml": HELMS})
    collector = await platform.workload(SYSTEM, "otel-collector", agent=False, env=OAUTH_CLIENT)
    start_operator()
    await expect_event(platform, SYSTEM, "otel-collector", "ConfigurationKept", "otlphttp/tempo")
    await expect_unchanged(platform, CONFIG, before, seconds=1)
    await platform.config_map(SYSTEM, "otel-collector-extra", {"tempo.yaml": TEMPO})
    await platform.managed_and_ready(ADDRESS)
    config = await expect_config(platform, "traces/mlflow", "traces/tempo")
    rolled = await expect_rolled(platform, config)
    assert rolled["metadata"]["generation"] == collector["metadata"]["generation"] + 1
    await expect_event(platform, SYSTEM, "otel-collector", "ConfigurationReplaced", "otlphttp/tempo")
    assert (await platform.get(COLLECTOR) or {})["metadata"]["generation"] == rolled["metadata"]["generation"]


async def test_a_fresh_platform_costs_one_roll(start_operator: StartOperator, platform: Platform) -> None:
    for crd in (DSC_CRD, MLFLOW_CRD):
        await platform.install_crd(crd)
    await platform.set_state("Managed")
    await platform.put(f"/api/v1/namespaces/{SYSTEM}/services/phoenix", build_service("phoenix"))
    collector = await install_collector(platform)
    start_operator()
    await expect_event(platform, SYSTEM, "otel-collector", "RolloutWaitsForMLflow", "5 minutes")
    await expect_config(platform, "traces/phoenix")
    await expect_unchanged(platform, COLLECTOR, collector, seconds=3, field="generation")
    await platform.managed_and_ready(ADDRESS)
    config = await expect_config(platform, "traces/mlflow", "traces/phoenix")
    rolled = await expect_rolled(platform, config)
    assert rolled["metadata"]["generation"] == collector["metadata"]["generation"] + 1
    await expect_unchanged(platform, COLLECTOR, rolled, seconds=15, field="generation")


async def test_hand_edits_are_undone(start_operator: StartOperator, platform: Platform) -> None:
    await install_collector(platform)
    start_operator()
    before = await expect_config(platform, "traces/default")
    await platform.patch(CONFIG, {"data": {"base.yaml": "receivers: {}\n", "theirs.yaml": "kept"}})

    async def restored() -> None:
        found = await platform.get(CONFIG)
        assert found is not None
        assert found["data"]["base.yaml"] == before["data"]["base.yaml"]
        assert found["data"]["theirs.yaml"] == "kept"

    await eventually(restored)
    await platform.delete(CONFIG)
    await expect_config(platform, "traces/default")


async def test_the_configuration_follows_phoenix_and_mlflow_as_they_come_and_go(
    start_operator: StartOperator, platform: Platform
) -> None:
    await install_collector(platform)
    start_operator()
    await expect_config(platform, "traces/default")
    await platform.put(f"/api/v1/namespaces/{SYSTEM}/services/phoenix", build_service("phoenix"))
    await expect_config(platform, "traces/phoenix")
    for crd in (DSC_CRD, MLFLOW_CRD):
        await platform.install_crd(crd)
    await platform.put(
        f"{MLFLOWS}/mlflows/mlflow",
        {"apiVersion": "mlflow.opendatahub.io/v1", "kind": "MLflow", "metadata": {"name": "mlflow"}},
    )
    await platform.set_mlflow_status(address=f"{ADDRESS}/some/path")
    config = await expect_config(platform, "traces/phoenix", "traces/mlflow")
    exporter = parsed(config)["exporters"]["otlp_http/mlflow"]
    # Nobody answers there, and no version says otherwise.
    assert exporter["traces_endpoint"] == f"{ADDRESS}/some/path/v1/traces"
    await expect_rolled(platform, config)

    await platform.set_mlflow_status(available=False, address=None)
    await expect_unchanged(platform, CONFIG, config, seconds=2)
    await platform.delete(f"/api/v1/namespaces/{SYSTEM}/services/phoenix")
    await expect_config(platform, "traces/mlflow")
    await platform.delete(f"{MLFLOWS}/mlflows/mlflow")
    await expect_rolled(platform, await expect_config(platform, "traces/default"))


async def test_the_endpoint_survives_a_restart_of_the_operator_while_mlflow_is_away(
    start_operator: StartOperator, platform: Platform
) -> None:
    await platform.managed_and_ready(ADDRESS)
    first = start_operator()
    before = await expect_config(platform, "traces/mlflow")
    first.stop()
    await platform.set_mlflow_endpoint(ready=False)
    await platform.set_mlflow_status(available=False, address=None)
    second = start_operator()
    await second.expect_log("OTel collector bootstrap complete")
    after = await platform.get(CONFIG)
    assert after is not None
    assert after["metadata"]["resourceVersion"] == before["metadata"]["resourceVersion"]


async def test_a_burst_of_changes_costs_few_rolls(start_operator: StartOperator, platform: Platform) -> None:
    await platform.managed_and_ready(ADDRESS)
    await install_collector(platform)
    start_operator()
    await expect_rolled(platform, await expect_config(platform, "traces/mlflow"))
    before = await platform.get(COLLECTOR)
    assert before is not None
    for number in range(50):
        await platform.set_mlflow_status(address=f"https://mlflow-{number}.example:8443")

    async def last() -> Object:
        config = await expect_config(platform, "traces/mlflow")
        exporter = parsed(config)["exporters"]["otlp_http/mlflow"]
        assert exporter["traces_endpoint"] == "https://mlflow-49.example:8443/v1/traces"
        return config

    after = await expect_rolled(platform, await eventually(last))
    assert after["metadata"]["generation"] - before["metadata"]["generation"] <= 3


async def test_openshifts_certificates_are_bundled_and_roll_the_collector(
    start_operator: StartOperator, platform: Platform
) -> None:
    await platform.install_crd(OPENSHIFT_CRD)
    await platform.config_map(
        "openshift-config-managed", "default-ingress-cert", {"ca-bundle.crt": "INGRESS-1"}
    )
    await install_collector(platform)
    start_operator()

    async def bundled(expected: str) -> None:
        found = await platform.get(INGRESS_CA)
        assert found is not None
        assert found["data"]["ca-bundle.crt"].startswith(expected)

    await eventually(lambda: bundled("INGRESS-1\n"))
    first = await expect_rolled(platform, await expect_config(platform, "traces/default"))
    hash_before = first["spec"]["template"]["metadata"]["annotations"][CA_HASH]

    await platform.config_map(
        "openshift-config-managed", "default-ingress-cert", {"ca-bundle.crt": "INGRESS-2"}
    )
    await eventually(lambda: bundled("INGRESS-2\n"))

    async def rolled() -> str:
        found = await platform.get(COLLECTOR)
        assert found is not None
        value: str = found["spec"]["template"]["metadata"]["annotations"][CA_HASH]
        assert value != hash_before
        return value

    with_ingress = await eventually(rolled)
    await platform.config_map(SYSTEM, "openshift-service-ca.crt", {"service-ca.crt": "SERVICE-1"})

    async def rolled_again() -> None:
        found = await platform.get(COLLECTOR)
        assert found is not None
        assert found["spec"]["template"]["metadata"]["annotations"][CA_HASH] not in (
            hash_before,
            with_ingress,
        )

    await eventually(rolled_again)


@pytest.mark.parametrize("openshift", [True, False], ids=["OpenShift", "plain Kubernetes"])
async def test_without_a_workspace_no_headers_are_sent_and_that_is_reported(
    start_operator: StartOperator, platform: Platform, *, openshift: bool
) -> None:
    if openshift:
        await platform.install_crd(OPENSHIFT_CRD)
    await platform.managed_and_ready(ADDRESS)
    start_operator()
    config = await expect_config(platform, "traces/mlflow")
    exporter = parsed(config)["exporters"]["otlphttp/mlflow"]
    assert "headers" not in exporter
    assert exporter["auth"] == {"authenticator": "bearertokenauth/mlflow"}
    assert ("tls" in exporter) is openshift
    await expect_event(platform, "default", "mlflow", "WorkspaceNotConfigured")


async def test_a_collector_with_credentials_of_its_own_is_an_oauth_client(
    start_operator: StartOperator, platform: Platform
) -> None:
    await platform.workload(SYSTEM, "otel-collector", agent=False, env=OAUTH_CLIENT)
    await platform.managed_and_ready(ADDRESS)
    start_operator()
    config = await expect_config(platform, "traces/mlflow")
    assert parsed(config)["exporters"]["otlphttp/mlflow"]["auth"] == {"authenticator": "oauth2client/mlflow"}


@pytest.mark.parametrize("allowed", [False, True], ids=["not permitted", "permitted"])
async def test_a_token_goes_to_http_only_where_that_is_permitted(
    start_operator: StartOperator, platform: Platform, *, allowed: bool
) -> None:
    await platform.managed_and_ready("http://mlflow.redhat-ods-applications.svc:5000")
    start_operator(*(("--mlflow-allow-http",) if allowed else ()))
    config = parsed(await expect_config(platform, "traces/mlflow"))
    assert ("auth" in config["exporters"]["otlphttp/mlflow"]) is allowed
    assert ("bearertokenauth/mlflow" in config["service"]["extensions"]) is allowed
    reason = "TokenSentUnencrypted" if allowed else "TokenNotSent"
    await expect_event(platform, "default", "mlflow", reason, "http://mlflow", "--mlflow-allow-http")


async def test_mlflow_is_found_with_the_bootstrap_alone(
    start_operator: StartOperator, platform: Platform
) -> None:
    await platform.managed_and_ready(ADDRESS)
    start_operator(features=BOOTSTRAP_ONLY)
    config = await expect_config(platform, "traces/mlflow")
    exporter = parsed(config)["exporters"]["otlphttp/mlflow"]
    assert exporter["traces_endpoint"] == f"{ADDRESS}/v1/traces"
    await expect_event(platform, "default", "mlflow", "WorkspaceNotConfigured")


async def test_a_users_own_part_is_merged_followed_and_reported_where_it_is_bad(
    start_operator: StartOperator, platform: Platform
) -> None:
    await install_collector(platform)
    start_operator()
    await expect_config(platform, "traces/default")
    await platform.config_map(SYSTEM, "otel-collector-extra", {"tempo.yaml": TEMPO})
    await expect_rolled(platform, await expect_config(platform, "traces/default", "traces/tempo"))
    bad = {
        "tempo.yaml": TEMPO,
        "bad.yaml": "exporters: [",
        "debug.yaml": "exporters: {debug: {verbosity: basic}}",
    }
    before = await platform.get(CONFIG)
    assert before is not None
    await platform.config_map(SYSTEM, "otel-collector-extra", bad)
    words = ("key bad.yaml is no YAML", "key debug.yaml has exporters debug")
    await expect_event(platform, SYSTEM, "otel-collector-extra", "ExtraConfigurationIgnored", *words)
    await expect_unchanged(platform, CONFIG, before, seconds=2)
    await platform.delete(EXTRA)
    await expect_config(platform, "traces/default")
