"""MLflow's REST API as a person uses it to look at what arrived: experiments, runs and traces."""

import ssl
from collections.abc import Mapping
from typing import Any
from urllib.parse import urlsplit

import aiohttp
import msgspec

from kagenti_devcluster.demo.api import Answer
from kagenti_devcluster.demo.failures import Hop, NoAnswer
from kagenti_devcluster.demo.traces import Span, parse_trace

_SECONDS = 30.0


class MLflowReader:
    """Requests to one MLflow with one token, which every request names the workspace for.

    REST is served below `base_url`; any other path is taken from the root. Every method raises NoAnswer when
    nobody answers.
    """

    def __init__(self, session: aiohttp.ClientSession, base_url: str, token: str, authority: str) -> None:
        self._session = session
        self._base_url = base_url
        self._root = base_url.removesuffix(urlsplit(base_url).path)
        self._token = token
        self.authority = authority
        self._ssl = ssl.create_default_context(cadata=authority)

    async def request(
        self,
        method: str,
        path: str,
        workspace: str,
        *,
        params: Mapping[str, str] | None = None,
        content: Any = None,
        headers: Mapping[str, str] | None = None,
        token: str | None = None,
    ) -> Answer:
        """Send one request. Raises NoAnswer."""
        given = {
            "Authorization": f"Bearer {token or self._token}",
            "X-MLFLOW-WORKSPACE": workspace,
            "Content-Type": "application/json",
            **(headers or {}),
        }
        base = self._base_url if path.startswith("/api/") else self._root
        try:
            async with self._session.request(
                method,
                f"{base}{path}",
                params=params,
                data=None if content is None else msgspec.json.encode(content),
                headers=given,
                ssl=self._ssl,
                timeout=aiohttp.ClientTimeout(total=_SECONDS),
            ) as response:
                return Answer(response.status, await response.read())
        except (aiohttp.ClientError, TimeoutError) as error:
            raise NoAnswer(Hop.MLFLOW, f"{method} {path}", error, seconds=_SECONDS, log="mlflow") from error

    async def search_traces(self, workspace: str, experiment_id: str) -> Answer:
        """The newest traces of an experiment, as `{"traces": [{"trace_id": ...}]}`."""
        location = {"type": "MLFLOW_EXPERIMENT", "mlflow_experiment": {"experiment_id": experiment_id}}
        content = {"locations": [location], "max_results": 100, "order_by": ["timestamp_ms DESC"]}
        return await self.request("POST", "/api/3.0/mlflow/traces/search", workspace, content=content)

    async def trace_ids(self, workspace: str, experiment_id: str) -> list[str]:
        """Ids of the newest traces of an experiment; none where MLflow refuses."""
        answer = await self.search_traces(workspace, experiment_id)
        return [t["trace_id"] for t in answer.json().get("traces", [])] if answer.status == 200 else []

    async def spans(self, workspace: str, trace_id: str) -> tuple[Span, ...]:
        """The spans of a trace; none where MLflow has no such trace (yet)."""
        path = "/api/3.0/mlflow/traces/get"
        answer = await self.request("GET", path, workspace, params={"trace_id": trace_id})
        return parse_trace(answer.body) if answer.status == 200 else ()

    async def experiment(self, workspace: str, experiment_id: str, token: str | None = None) -> Answer:
        """An experiment by its id."""
        path = "/api/2.0/mlflow/experiments/get"
        params = {"experiment_id": experiment_id}
        return await self.request("GET", path, workspace, params=params, token=token)

    async def run(self, workspace: str, run_id: str) -> Answer:
        """A run by its id."""
        return await self.request("GET", "/api/2.0/mlflow/runs/get", workspace, params={"run_id": run_id})
