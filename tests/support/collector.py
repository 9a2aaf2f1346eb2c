"""What the collector has, seen with any client's eyes: its configuration, and that it was rolled onto it."""

import hashlib

import yaml

from kagenti_devcluster.testing.platform import (
    INTEGRATION,
    SYSTEM,
    Object,
    Platform,
    config_map_path,
    eventually,
    workload_path,
)

CONFIG = config_map_path(SYSTEM, "otel-collector-config")
COLLECTOR = workload_path(SYSTEM, "otel-collector")
HASH = "kagenti.io/otel-config-hash"
CA_HASH = "kagenti.io/otel-ca-hash"


async def install_collector(
    platform: Platform,
    image: str = "otel/opentelemetry-collector-contrib:0.152.0",
    account: str = "otel-collector",
) -> Object:
    return await platform.workload(
        SYSTEM, "otel-collector", agent=False, image=image, pod={"serviceAccountName": account}
    )


def parsed(config: Object) -> Object:
    return yaml.safe_load(config["data"]["base.yaml"])


def mlflow_exporter(config: Object) -> Object | None:
    """The exporter to MLflow, whichever name the collector's version knows."""
    exporters = parsed(config)["exporters"]
    return exporters.get("otlp_http/mlflow") or exporters.get("otlphttp/mlflow")


async def expect_binding(
    platform: Platform,
    namespace: str,
    role: str = INTEGRATION,
    *,
    account: str = "otel-collector",
    seconds: float = 60,
) -> Object:
    """The collector's RoleBinding in that namespace, once it grants the role to the collector alone."""

    async def granted() -> Object:
        found = await platform.binding(namespace)
        assert found is not None
        assert (found["roleRef"]["kind"], found["roleRef"]["name"]) == ("ClusterRole", role)
        assert found["metadata"].get("labels", {}).get("app.kubernetes.io/managed-by") == "kagenti-operator"
        assert found.get("subjects") == [{"kind": "ServiceAccount", "name": account, "namespace": SYSTEM}]
        return found

    return await eventually(granted, seconds=seconds)


async def expect_no_binding(platform: Platform, namespace: str) -> None:
    async def gone() -> None:
        assert await platform.binding(namespace) is None

    await eventually(gone)


async def expect_config(platform: Platform, *pipelines: str) -> Object:
    """The ConfigMap, once it holds exactly these pipelines and its hash is right."""

    async def applied() -> Object:
        found = await platform.get(CONFIG)
        assert found is not None
        text = found["data"]["base.yaml"]
        assert set(yaml.safe_load(text)["service"]["pipelines"]) == set(pipelines)
        assert found["metadata"]["annotations"][HASH] == hashlib.sha256(text.encode()).hexdigest()
        return found

    return await eventually(applied)


async def expect_headers(platform: Platform, workspace: str, experiment_id: str) -> Object:
    """The ConfigMap, once spans go to that experiment of that workspace."""

    async def applied() -> Object:
        found = await platform.get(CONFIG)
        assert found is not None
        exporter = mlflow_exporter(found)
        assert exporter is not None
        assert exporter["headers"] == {
            "x-mlflow-workspace": workspace,
            "x-mlflow-experiment-id": experiment_id,
        }
        return found

    return await eventually(applied)


async def expect_rolled(platform: Platform, config: Object) -> Object:
    """The collector, once its pods are of this configuration."""

    async def rolled() -> Object:
        found = await platform.get(COLLECTOR)
        assert found is not None
        annotations = found["spec"]["template"]["metadata"].get("annotations", {})
        assert annotations.get(HASH) == config["metadata"]["annotations"][HASH]
        return found

    return await eventually(rolled)
