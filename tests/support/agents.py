"""The agents of a namespace, seen with any client's eyes: environment, annotations, Role and RoleBinding."""

from collections.abc import Mapping
from typing import Any

from kagenti_devcluster.testing.platform import RBAC, Object, Platform, eventually, workload_path
from tests.support.mlflow import MLflow

MLFLOW_ONLY = ("--enable-mlflow",)
OPT_OUT = {"metadata": {"annotations": {"mlflow.kagenti.io/inject": "disabled"}}}
OPT_IN = {"metadata": {"annotations": {"mlflow.kagenti.io/inject": None}}}
NO_LABEL = {"metadata": {"labels": {"kagenti.io/type": None}}}
NAMES = (
    "MLFLOW_TRACKING_URI",
    "MLFLOW_TRACKING_AUTH",
    "MLFLOW_EXPERIMENT_ID",
    "MLFLOW_EXPERIMENT_NAME",
    "MLFLOW_WORKSPACE",
)


def template_of(workload: Object) -> Object:
    spec = workload["spec"]
    return spec["podTemplate"] if workload["kind"] == "Sandbox" else spec["template"]


def environment(workload: Object, container: int = 0) -> dict[str, str | None]:
    env = template_of(workload)["spec"]["containers"][container].get("env", [])
    return {var["name"]: var.get("value") for var in env}


class Agents:
    """A namespace's agents. They are Deployments unless a kind, or the path of another resource, is given."""

    def __init__(self, platform: Platform, mlflow: MLflow, namespace: str) -> None:
        self.namespace = namespace
        self._platform = platform
        self._mlflow = mlflow

    def path(self, name: str, kind: str = "Deployment") -> str:
        return workload_path(self.namespace, name, kind)

    def role_path(self, name: str) -> str:
        return f"{RBAC}/namespaces/{self.namespace}/roles/kagenti-mlflow-{name}"

    def binding_path(self, name: str) -> str:
        return f"{RBAC}/namespaces/{self.namespace}/rolebindings/kagenti-mlflow-{name}"

    async def create(self, name: str, **options: Any) -> Object:
        return await self._platform.workload(self.namespace, name, **options)

    async def create_configured(self, name: str, *, kind: str = "Deployment", **options: Any) -> Object:
        """Make an agent; returns it once it has everything."""
        await self.create(name, kind=kind, **options)
        return await self.expect_configured(name, kind=kind)

    async def get(self, name: str, kind: str = "Deployment") -> Object:
        return await self._platform.request("GET", self.path(name, kind))

    async def role(self, name: str) -> Object | None:
        return await self._platform.get(self.role_path(name))

    async def binding(self, name: str) -> Object | None:
        return await self._platform.get(self.binding_path(name))

    async def patch(self, name: str, change: Mapping[str, Any], kind: str = "Deployment") -> Object:
        return await self._platform.patch(self.path(name, kind), change)

    async def patch_pod(self, name: str, **spec: Any) -> Object:
        """Change the pod template's spec."""
        return await self.patch(name, {"spec": {"template": {"spec": spec}}})

    async def delete(self, name: str) -> None:
        await self._platform.delete(self.path(name))

    async def expect_configured(
        self,
        name: str,
        *,
        kind: str = "Deployment",
        path: str = "",
        experiment: str = "",
        seconds: float = 60,
    ) -> Object:
        """The workload, once every container has what belongs to its experiment."""

        async def configured() -> Object:
            workload = await self._platform.get(path or self.path(name, kind))
            assert workload is not None
            found = await self._mlflow.experiment(self.namespace, experiment or name)
            assert found is not None
            for container in range(len(template_of(workload)["spec"]["containers"])):
                env = environment(workload, container)
                assert {key: env.get(key) for key in NAMES} == {
                    "MLFLOW_TRACKING_URI": self._mlflow.url,
                    "MLFLOW_TRACKING_AUTH": "kubernetes-namespaced",
                    "MLFLOW_EXPERIMENT_ID": found["experiment_id"],
                    "MLFLOW_EXPERIMENT_NAME": found["name"],
                    "MLFLOW_WORKSPACE": self.namespace,
                }
            annotations = template_of(workload)["metadata"]["annotations"]
            assert annotations["mlflow.kagenti.io/experiment-id"] == found["experiment_id"]
            return workload

        return await eventually(configured, seconds=seconds)

    async def expect_granted(
        self, name: str, experiments: list[str] | None = None, *, account: str = "default"
    ) -> Object:
        """The Role, once it and its RoleBinding are for these experiments and that ServiceAccount.

        Without `experiments` it has to be the one that bears the agent's name.
        """

        async def granted() -> Object:
            role, binding = await self.role(name), await self.binding(name)
            assert role is not None
            assert binding is not None
            assert role["rules"] == [
                {
                    "apiGroups": ["mlflow.kubeflow.org"],
                    "resources": ["experiments"],
                    "resourceNames": experiments or [name],
                    "verbs": ["get", "update"],
                }
            ]
            subject = {"kind": "ServiceAccount", "name": account, "namespace": self.namespace}
            assert binding["subjects"] == [subject]
            return role

        return await eventually(granted)

    async def expect_no_grant(self, name: str) -> None:
        """Return once neither Role nor RoleBinding is left."""

        async def ungranted() -> None:
            assert await self.role(name) is None
            assert await self.binding(name) is None

        await eventually(ungranted)

    async def expect_released(
        self, name: str, *, kind: str = "Deployment", path: str = "", seconds: float = 60
    ) -> Object:
        """The workload, once nothing of the operator's is left in it, nor a grant."""

        async def released() -> Object:
            workload = await self._platform.get(path or self.path(name, kind))
            assert workload is not None
            assert not set(NAMES) & set(environment(workload))
            assert not template_of(workload).get("metadata", {}).get("annotations")
            return workload

        workload = await eventually(released, seconds=seconds)
        await self.expect_no_grant(name)
        return workload
