"""Changes of agents' workloads, each of which rolls one: few at a time, and not for ever against somebody."""

from collections.abc import Awaitable, Callable
from typing import Any

import msgspec
import structlog

from kagenti_operator.controllers.agents.events import AgentNews
from kagenti_operator.controllers.agents.injection import (
    Injection,
    build_release,
    build_removal,
    injected,
    is_marked,
    plan_injection,
)
from kagenti_operator.controllers.agents.rollout_slots import PATIENCE_SECONDS, RollSlots
from kagenti_operator.controllers.cluster import Cluster
from kagenti_operator.kube.client import KubeClient
from kagenti_operator.kube.errors import ApiError, KubeError
from kagenti_operator.kube.objects.agents import Agent
from kagenti_operator.kube.resources import Resource
from kagenti_operator.runtime.control.write_backoff import Rewrites

log = structlog.get_logger("controllers.agents")


class AgentWorkloads:
    """Puts an agent's environment into its workload, and takes it out. Methods raise KubeError."""

    def __init__(self, client: KubeClient, cluster: Cluster, rolls: RollSlots, news: AgentNews) -> None:
        self._client = client
        self._cluster = cluster
        self._rolls = rolls
        self._news = news
        self._rewrites = Rewrites()

    async def inject(self, key: str, kind: str, agent: Agent, injection: Injection) -> float | None:
        """Apply what is missing; returns after how many seconds to try again where it is not its turn."""
        self._rewrites.forget_what_lasted()
        resource = self._cluster.agents[kind].resource
        plan = plan_injection(agent, resource, injection)
        self._news.variables_kept(key, agent, plan.kept, plan.left_out)
        body = plan.body
        if body is None:
            return None
        if pause := self._pause(key, agent, injection):
            return pause
        try:
            if not await self._roll(key, kind, agent, lambda: self._client.apply(resource, body)):
                return PATIENCE_SECONDS
        except ApiError as error:
            if error.not_found:
                return None
            raise
        self._rewrites.wrote(key, injection)
        log.info(
            "Configured agent for MLflow",
            kind=kind,
            namespace=agent.metadata.namespace,
            name=agent.metadata.name,
            experimentID=injection.experiment_id,
        )
        self._news.configured(key, agent, injection)
        return None

    async def release(self, key: str, kind: str, agent: Agent) -> float | None:
        """Take out what is ours; returns after how many seconds to try again where it is not its turn."""
        if pause := self._pause(key, agent, None):
            return pause
        resource = self._cluster.agents[kind].resource
        if not await self._roll(key, kind, agent, lambda: self._take_out(resource, agent)):
            return PATIENCE_SECONDS
        self._rewrites.wrote(key, None)
        meta = agent.metadata
        log.info("Released workload from MLflow", kind=kind, namespace=meta.namespace, name=meta.name)
        return None

    def forget(self, key: str) -> None:
        """The workload is gone."""
        self._rewrites.forget(key)

    def _pause(self, key: str, agent: Agent, injection: Injection | None) -> float:
        """How long not to do again what somebody has undone several times."""
        pause = self._rewrites.wait(key, injection)
        if pause:
            self._news.undone(key, agent)
        return pause

    async def _take_out(self, resource: Resource[Any], agent: Agent) -> Agent:
        released = await self._client.apply(resource, build_release(agent, resource))
        if not is_marked(released):
            return released
        # Somebody else owns it too, such as a rollback to a pod template that had it.
        meta = agent.metadata
        path = resource.path(meta.namespace, meta.name)
        workload: dict[str, Any] = msgspec.json.decode(await self._client.raw("GET", path))
        operations = build_removal(workload, resource, injected(released))
        return await self._client.json_patch(resource, meta.name, operations, meta.namespace)

    async def _roll(self, key: str, kind: str, agent: Agent, change: Callable[[], Awaitable[Agent]]) -> bool:
        """Make a change that rolls the workload; False while too many others roll."""
        if not self._rolls.take(key):
            return False
        try:
            changed = await change()
        except KubeError as error:
            # Where only the answer was lost the workload may roll; but its place would be kept for minutes.
            meta = agent.metadata
            self._rolls.refused(key, self._cluster.agent(kind, meta.namespace, meta.name))
            if isinstance(error, ApiError):
                self._news.not_configured(key, agent, error)
            raise
        self._rolls.began(key, changed)
        return True
