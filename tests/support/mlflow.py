"""A real MLflow beside the test cluster, and what a test asks of it with its own rights."""

import asyncio
import json
import ssl
import urllib.error
import urllib.request
from typing import Any

from kagenti_devcluster.testing.mlflow_server import MLflowServer
from kagenti_devcluster.testing.platform import eventually

API = "/api/2.0/mlflow/experiments"


class MLflow:
    """The server of the session, asked with a token that may do everything."""

    def __init__(self, server: MLflowServer, token: str) -> None:
        self.server = server
        self._token = token

    @property
    def url(self) -> str:
        return self.server.url

    async def call(self, method: str, path: str, workspace: str, body: object = None) -> dict[str, Any]:
        return await asyncio.to_thread(self._call, method, path, workspace, body)

    def _call(self, method: str, path: str, workspace: str, body: object) -> dict[str, Any]:
        request = urllib.request.Request(
            f"{self.url}{API}/{path}",
            method=method,
            data=json.dumps(body).encode() if body is not None else None,
            headers={
                "Authorization": f"Bearer {self._token}",
                "X-MLFLOW-WORKSPACE": workspace,
                "Content-Type": "application/json",
            },
        )
        context = ssl.create_default_context(cafile=self.server.ca_file)
        with urllib.request.urlopen(request, timeout=30, context=context) as answer:
            return json.loads(answer.read() or b"{}")

    async def experiment(self, workspace: str, name: str) -> dict[str, Any] | None:
        try:
            found = await self.call("GET", f"get-by-name?experiment_name={name}", workspace)
        except urllib.error.HTTPError as error:
            with error:
                if error.code == 404:
                    return None
                raise
        return found["experiment"]

    async def expect_experiment(self, workspace: str, name: str = "kagenti-traces") -> dict[str, Any]:
        """The experiment, once it is there and active; the workspace too may still have to be made."""

        async def active() -> dict[str, Any]:
            try:
                found = await self.experiment(workspace, name)
            except urllib.error.HTTPError as error:
                with error:
                    raise AssertionError(f"MLflow answered {error.code}") from error
            assert found is not None
            assert found["lifecycle_stage"] == "active"
            return found

        return await eventually(active)

    async def rename(self, workspace: str, experiment_id: str, name: str) -> None:
        await self.call("POST", "update", workspace, {"experiment_id": experiment_id, "new_name": name})

    async def delete(self, workspace: str, experiment_id: str) -> None:
        await self.call("POST", "delete", workspace, {"experiment_id": experiment_id})
