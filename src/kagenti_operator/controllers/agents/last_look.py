"""Looks at workloads themselves before a right or an environment goes: nothing is taken away on doubt."""

from collections.abc import Sequence
from dataclasses import dataclass

from kagenti_operator.controllers.agents.facts import AgentFacts
from kagenti_operator.controllers.agents.injection import is_marked, is_opted_out
from kagenti_operator.controllers.agents.keys import KINDS, AgentKey
from kagenti_operator.controllers.list_now import list_now
from kagenti_operator.kube.client import KubeClient
from kagenti_operator.kube.errors import ApiError, Unfit
from kagenti_operator.kube.objects.agents import Agent, AgentIdentity
from kagenti_operator.kube.objects.rbac import RbacObject


@dataclass(frozen=True)
class Unseen:
    """An agent that is in no cache and may be there all the same.

    `problem`: why it cannot be read, as the end of a sentence; None where its event is on the way.
    """

    key: AgentKey
    problem: str | None


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
        something to lose; `known`: it was served. One that cannot be decoded is known by its metadata.

        Raises KubeError.
        """
        if not (known or _has_something(agent, grants)):
            return agent, False
        try:
            found = await self._client.get(self._facts.resource(key), key.name, key.namespace)
        except Unfit:
            return None, await self._is_served(key, await self._identity(key))
        return found, await self._is_served(key, found)

    async def unseen_twin(self, key: AgentKey, grants: Sequence[RbacObject]) -> Unseen | None:
        """An agent that shares the Role, is in no cache, and may be there all the same.

        Raises KubeError where the API server does not answer; one that it refuses to show may be there.
        """
        kinds = {owner.kind for grant in grants for owner in grant.metadata.owner_references}
        for kind in sorted(kinds & KINDS.keys() - {key.kind}):
            twin = key._replace(kind=kind)
            if twin not in self._facts and (unseen := await self._look_at_twin(twin)):
                return unseen
        return None

    async def has_agents(self, namespace: str) -> bool:
        """Whether any agent lives in that namespace. Raises KubeError."""
        for kind in map(self._facts.identity, KINDS):
            for selector in self._facts.selectors:
                if await list_now(self._client, kind, namespace, label_selector=selector, limit=1):
                    return True
        return False

    async def _look_at_twin(self, twin: AgentKey) -> Unseen | None:
        if self._facts.is_unknown(twin):
            return Unseen(twin, "its kind could not be listed yet")
        try:
            found = await self._identity(twin)
            if not await self._is_served(twin, found):
                return None
            await self._client.get(self._facts.resource(twin), twin.name, twin.namespace)
        except (ApiError, Unfit) as error:
            return Unseen(twin, str(error))
        return Unseen(twin, None)

    async def _identity(self, key: AgentKey) -> AgentIdentity | None:
        return await self._client.get(self._facts.identity(key.kind), key.name, key.namespace)

    async def _is_served(self, key: AgentKey, agent: Agent | AgentIdentity | None) -> bool:
        kind = self._facts.identity(key.kind)
        if agent is None:
            if kind.is_custom:
                # Not found is what an API server answers as well that does not serve the whole kind.
                await list_now(self._client, kind, key.namespace, name=key.name, limit=1)
            return False
        if agent.metadata.deletion_timestamp or is_opted_out(agent):
            return False
        for selector in self._facts.selectors:
            if await list_now(
                self._client, kind, key.namespace, label_selector=selector, name=key.name, limit=1
            ):
                return True
        return False


def _has_something(agent: Agent | None, grants: Sequence[RbacObject]) -> bool:
    if agent is None:
        return bool(grants)
    owners = {owner.uid for grant in grants for owner in grant.metadata.owner_references}
    return is_marked(agent) or agent.metadata.uid in owners
