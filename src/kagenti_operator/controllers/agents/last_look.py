"""Looks at workloads themselves before a right or an environment goes: nothing is taken away on doubt."""

from collections.abc import Sequence

from kagenti_operator.controllers.agents.facts import AgentFacts
from kagenti_operator.controllers.agents.injection import is_marked, is_opted_out
from kagenti_operator.controllers.agents.keys import KINDS, AgentKey
from kagenti_operator.controllers.list_now import list_now
from kagenti_operator.kube.client import KubeClient
from kagenti_operator.kube.objects.agents import Agent
from kagenti_operator.kube.objects.rbac import RbacObject


class LastLook:
    """Asks the API server for what the caches do not show, or no longer."""

    def __init__(self, client: KubeClient, facts: AgentFacts) -> None:
        self._client = client
        self._facts = facts

    async def at(
        self, key: AgentKey, agent: Agent | None, grants: Sequence[RbacObject], *, known: bool
    ) -> tuple[Agent | None, bool]:
        """A workload that is not served as far as the caches know, and whether it has to be after all.

        `agent`, and `grants`, its Role and RoleBinding, as cached. It is asked for only where it has
        something to lose; `known`: it was served.

        Raises KubeError.
        """
        if known or _has_something(agent, grants):
            return await self._look(key)
        return agent, False

    async def has_live_twin(self, key: AgentKey, grants: Sequence[RbacObject]) -> bool:
        """Whether an agent that shares the Role is in no cache, and there all the same. Raises KubeError."""
        kinds = {owner.kind for grant in grants for owner in grant.metadata.owner_references}
        for kind in sorted(kinds & KINDS.keys() - {key.kind}):
            twin = key._replace(kind=kind)
            if twin not in self._facts and (await self._look(twin))[1]:
                return True
        return False

    async def has_agents(self, namespace: str) -> bool:
        """Whether any agent lives in that namespace. Raises KubeError."""
        for informer in self._facts.workloads.values():
            for selector in self._facts.selectors:
                kind = informer.resource
                if await list_now(self._client, kind, namespace, label_selector=selector, limit=1):
                    return True
        return False

    async def _look(self, key: AgentKey) -> tuple[Agent | None, bool]:
        kind = self._facts.resource(key)
        agent = await self._client.get(kind, key.name, key.namespace)
        if agent is None:
            if kind.is_custom:
                # Not found is what an API server answers as well that does not serve the whole kind.
                await list_now(self._client, kind, key.namespace, name=key.name, limit=1)
            return None, False
        if agent.metadata.deletion_timestamp or is_opted_out(agent):
            return agent, False
        for selector in self._facts.selectors:
            if await list_now(
                self._client, kind, key.namespace, label_selector=selector, name=key.name, limit=1
            ):
                return agent, True
        return agent, False


def _has_something(agent: Agent | None, grants: Sequence[RbacObject]) -> bool:
    if agent is None:
        return bool(grants)
    owners = {owner.uid for grant in grants for owner in grant.metadata.owner_references}
    return is_marked(agent) or agent.metadata.uid in owners
