"""What an agent has, seen with any client's eyes: environment, annotations, Role and RoleBinding."""

from kagenti_devcluster.testing.platform import RBAC, Object, Platform, eventually, workload_path
from tests.support.mlflow import MLflow

MLFLOW_ONLY = ("--enable-mlflow",)
NAMES = (
    "MLFLOW_TRACKING_URI",
    "MLFLOW_TRACKING_AUTH",
    "MLFLOW_EXPERIMENT_ID",
    "MLFLOW_EXPERIMENT_NAME",
    "MLFLOW_WORKSPACE",
)


def role_path(namespace: str, workload: str) -> str:
    return f"{RBAC}/namespaces/{namespace}/roles/kagenti-mlflow-{workload}"


def binding_path(namespace: str, workload: str) -> str:
    return f"{RBAC}/namespaces/{namespace}/rolebindings/kagenti-mlflow-{workload}"


def template_of(workload: Object) -> Object:
    spec = workload["spec"]
    return spec["podTemplate"] if workload["kind"] == "Sandbox" else spec["template"]


def environment(workload: Object, container: int = 0) -> dict[str, str | None]:
    env = template_of(workload)["spec"]["containers"][container].get("env", [])
    return {var["name"]: var.get("value") for var in env}


async def expect_configured(
    platform: Platform,
    mlflow: MLflow,
    namespace: str,
    name: str,
    *,
    kind: str = "Deployment",
    path: str = "",
    experiment: str = "",
    seconds: float = 20,
) -> Object:
    """The workload, once every container has what belongs to its experiment; `path`: of other kinds."""

    async def configured() -> Object:
        workload = await platform.get(path or workload_path(namespace, name, kind))
        assert workload is not None
        found = await mlflow.experiment(namespace, experiment or name)
        assert found is not None
        for container in range(len(template_of(workload)["spec"]["containers"])):
            env = environment(workload, container)
            assert {key: env.get(key) for key in NAMES} == {
                "MLFLOW_TRACKING_URI": mlflow.url,
                "MLFLOW_TRACKING_AUTH": "kubernetes-namespaced",
                "MLFLOW_EXPERIMENT_ID": found["experiment_id"],
                "MLFLOW_EXPERIMENT_NAME": found["name"],
                "MLFLOW_WORKSPACE": namespace,
            }
        annotations = template_of(workload)["metadata"]["annotations"]
        assert annotations["mlflow.kagenti.io/experiment-id"] == found["experiment_id"]
        return workload

    return await eventually(configured, seconds=seconds)


async def expect_granted(
    platform: Platform, namespace: str, name: str, experiments: str | list[str], account: str
) -> Object:
    """The Role, once it and its RoleBinding are for these experiments and that ServiceAccount."""

    async def granted() -> Object:
        role = await platform.get(role_path(namespace, name))
        binding = await platform.get(binding_path(namespace, name))
        assert role is not None
        assert binding is not None
        assert role["rules"] == [
            {
                "apiGroups": ["mlflow.kubeflow.org"],
                "resources": ["experiments"],
                "resourceNames": [experiments] if isinstance(experiments, str) else experiments,
                "verbs": ["get", "update"],
            }
        ]
        assert binding["subjects"] == [{"kind": "ServiceAccount", "name": account, "namespace": namespace}]
        return role

    return await eventually(granted)


async def expect_no_grant(platform: Platform, namespace: str, name: str) -> None:
    """Return once neither Role nor RoleBinding is left."""

    async def ungranted() -> None:
        assert await platform.get(role_path(namespace, name)) is None
        assert await platform.get(binding_path(namespace, name)) is None

    await eventually(ungranted)


async def expect_released(
    platform: Platform, namespace: str, name: str, *, path: str = "", seconds: float = 20
) -> Object:
    async def released() -> Object:
        workload = await platform.get(path or workload_path(namespace, name))
        assert workload is not None
        assert not set(NAMES) & set(environment(workload))
        assert not template_of(workload).get("metadata", {}).get("annotations")
        assert await platform.get(role_path(namespace, name)) is None
        assert await platform.get(binding_path(namespace, name)) is None
        return workload

    return await eventually(released, seconds=seconds)
