"""Each agent's experiment: made in its namespace's workspace, granted to its pods, told to its containers."""

import random
from collections.abc import Callable, Sequence
from typing import Any

import structlog

from kagenti_operator.controllers.agents.access import (
    Grantee,
    build_access,
    grants_role,
    role_name,
    without_foreign_owners,
    workload_name,
)
from kagenti_operator.controllers.agents.events import AgentNews
from kagenti_operator.controllers.agents.experiments import AgentExperiments
from kagenti_operator.controllers.agents.injection import Injection, is_marked, is_opted_out
from kagenti_operator.controllers.agents.retry_after_denied import ExperimentRefusals
from kagenti_operator.controllers.agents.rollout_slots import RollSlots
from kagenti_operator.controllers.agents.tracking_endpoint import AgentsServer
from kagenti_operator.controllers.agents.workloads import AgentWorkloads
from kagenti_operator.controllers.cluster import AGENT_KINDS, Cluster, agent_key, namespace_of_key
from kagenti_operator.kube.client import KubeClient
from kagenti_operator.kube.errors import ApiError
from kagenti_operator.kube.objects.agents import Agent
from kagenti_operator.kube.objects.models import KubeObject
from kagenti_operator.kube.objects.rbac import RbacObject
from kagenti_operator.kube.resources import ROLE_BINDINGS, ROLES, Resource
from kagenti_operator.mlflow.client import MLflowClient
from kagenti_operator.mlflow.errors import MLflowError
from kagenti_operator.runtime.control.applier import CONFIRM_SECONDS, Applier
from kagenti_operator.runtime.telemetry.events import EventRecorder

log = structlog.get_logger("controllers.agents")


# How often a workload that is none of the agents any more is asked for while it rolls.
FOLLOW_SECONDS = 10.0
# Beside the agents' keys, and formed as they are: MLflow's address is looked at.
PLATFORM_KEY = agent_key("MLflow", "", "")


class AgentsController:
    """One key per agent: kind/namespace/name."""

    name = "agents"

    def __init__(
        self,
        client: KubeClient,
        cluster: Cluster,
        mlflow: MLflowClient,
        events: EventRecorder,
        *,
        enqueue: Callable[[str], None],
        rng: random.Random,
        max_rolls: int,
    ) -> None:
        self._client = client
        self._cluster = cluster
        self._enqueue = enqueue
        self._applier = Applier(client)
        self._experiments = AgentExperiments(cluster, mlflow, rng=rng)
        self._rolls = RollSlots(max_rolls, enqueue, bucket=namespace_of_key)
        self._refusals = ExperimentRefusals(enqueue, rng)
        self._news = AgentNews(events)
        self._workloads = AgentWorkloads(client, cluster, self._rolls, self._news)
        self._server = AgentsServer()

    async def reconcile(self, key: str) -> float | None:
        """Bring one agent to what section 2.6 of the contract says: access first, then its environment."""
        if key == PLATFORM_KEY:
            return self._follow_mlflow()
        try:
            return await self._reconcile(key)
        finally:
            self._rolls.pass_on(key)

    async def _reconcile(self, key: str) -> float | None:
        kind, namespace, name = key.split("/", 2)
        agent = self._cluster.agent(kind, namespace, name)
        if agent is None or is_opted_out(agent):
            return await self._release(kind, namespace, name, agent)
        if agent.metadata.deletion_timestamp:
            return None
        server = self._server.current
        if server is None:
            # Its pods may run under another account by the time that MLflow is back.
            granted = self._experiments.recall(key, agent) and await self._grant(key, agent)
            return CONFIRM_SECONDS if granted else None
        try:
            experiment = await self._experiments.resolve(key, agent, server)
        except MLflowError as error:
            return await self._go_on_without(key, agent, error)
        self._refusals.succeeded(key)
        self._news.experiment_known(key)
        if self._cluster.agent(kind, namespace, name) is not agent:
            # Gone, opted out or changed meanwhile: begin anew. One more pass is enough, as MLflow is not
            # asked again about what it has just said.
            self._enqueue(key)
            return None
        granted = await self._grant(key, agent)
        injection = Injection(
            tracking_uri=server.tracking_uri,
            experiment_id=experiment.id,
            experiment_name=experiment.name,
            workspace=namespace,
        )
        wait = await self._workloads.inject(key, kind, agent, injection)
        look = self._experiments.next_look(key) if wait is None else wait
        return min(look, CONFIRM_SECONDS) if granted else look

    async def _go_on_without(self, key: str, agent: Agent, error: MLflowError) -> float:
        """MLflow does not say what an agent needs: tell, let a known one's grant follow it, and try again."""
        self._news.experiment_refused(key, agent, error)
        if self._experiments.recall(key, agent):
            await self._grant(key, agent)
        if error.retryable:
            raise error
        return self._refusals.refused(key)

    # --- access ----------------------------------------------------------------------------------------

    def _grantees(self, namespace: str, name: str) -> tuple[Grantee, ...]:
        found = ((i.resource, i.store.get(namespace, name)) for i in self._cluster.agents.values())
        return tuple(
            Grantee(resource=resource, agent=agent)
            for resource, agent in found
            if agent is not None and not is_opted_out(agent) and not agent.metadata.deletion_timestamp
        )

    def _recall_names(self, namespace: str, name: str, grantees: Sequence[Grantee]) -> tuple[str, ...]:
        """What their experiments are called, as far as these are known."""
        keys = _keys(namespace, name, grantees)
        for key, grantee in zip(keys, grantees, strict=True):
            # After a restart the first of twins must not take what the Role tells of the other.
            self._experiments.recall(key, grantee.agent)
        return self._experiments.names(keys)

    async def _grant(self, key: str, agent: Agent) -> bool:
        """Bring Role and RoleBinding to what they should be; return whether anything had to be written."""
        try:
            wrote = await self._ensure_access(agent.metadata.namespace, agent.metadata.name)
        except ApiError as error:
            self._news.not_granted(key, agent, error)
            raise
        self._news.granted(key)
        return wrote

    async def _ensure_access(self, namespace: str, name: str) -> bool:
        grantees = self._grantees(namespace, name)
        names = self._recall_names(namespace, name, grantees)
        if not names:
            # The last one went meanwhile, and its release takes the grant; or none is known yet.
            return False
        common_id = self._experiments.common_id(_keys(namespace, name, grantees))
        role, binding = build_access(namespace, name, names, grantees, experiment_id=common_id)
        # The binding names the Role, and a Role without a binding grants nothing: this order is safe.
        known = self._cluster.roles.store.get(namespace, role_name(name))
        wrote = await self._applier.ensure(ROLES, role, without_foreign_owners(known))
        current = self._cluster.agent_bindings.store.get(namespace, role_name(name))
        if current is not None and not grants_role(current, role_name(name)):
            # The API refuses to change a roleRef.
            await self._applier.absent(ROLE_BINDINGS, current)
            current = None
        return await self._applier.ensure(ROLE_BINDINGS, binding, without_foreign_owners(current)) or wrote

    async def _revoke[T: RbacObject](
        self, key: str, agent: Agent | None, resource: Resource[T], grant: T | None
    ) -> None:
        try:
            await self._applier.absent(resource, grant)
        except ApiError as error:
            if agent is not None:
                self._news.not_revoked(key, agent, error)
            raise

    # --- what is left -----------------------------------------------------------------------------------

    async def _release(self, kind: str, namespace: str, name: str, agent: Agent | None) -> float | None:
        """Take out what is ours: the right, then environment and annotations. Data stays in MLflow."""
        key = agent_key(kind, namespace, name)
        known = self._experiments.forget(key)
        self._refusals.forget(key)
        role = self._cluster.roles.store.get(namespace, role_name(name))
        binding = self._cluster.agent_bindings.store.get(namespace, role_name(name))
        resource = self._cluster.agents[kind].resource
        if agent is None and (known or role or binding or self._rolls.holds(key)):
            # Gone from the cache means deleted, or no longer labelled: only the API server knows.
            agent = await self._client.get(resource, name, namespace)
        if agent is not None and agent.metadata.deletion_timestamp:
            agent = None
        grantees = self._grantees(namespace, name)
        # A twin of which nothing is known has no right yet, and none is kept for it.
        shared = bool(self._recall_names(namespace, name, grantees))
        if not shared:
            # At once, however long the workload waits for its turn, or may not be changed. The Role goes on
            # telling, also after a restart, that something is left to do.
            await self._revoke(key, agent, ROLE_BINDINGS, binding)
        if agent is None:
            self._workloads.forget(key)
        if agent is None or not is_marked(agent):
            self._rolls.follow(key, agent)
        elif wait := await self._workloads.release(key, kind, agent):
            return wait
        if not shared:
            await self._revoke(key, agent, ROLES, role)
        if grantees:
            self._wake_peers(kind, namespace, name)
        self._news.forget(key)
        if self._rolls.holds(key):
            # Nothing tells of a workload without the label.
            return FOLLOW_SECONDS
        self._rolls.release(key)
        return None

    # --- what wakes it ---------------------------------------------------------------------------------

    def on_agent(self, kind: str, old: KubeObject | None, new: KubeObject | None) -> None:
        """An agent appeared, changed or went."""
        changed: Any = new or old
        key = agent_key(kind, changed.metadata.namespace, changed.metadata.name)
        self._rolls.follow(key, new)  # pyright: ignore[reportArgumentType]
        self._enqueue(key)

    def on_grant(self, old: RbacObject | None, new: RbacObject | None) -> None:
        """A Role or RoleBinding of ours changed: whoever it serves, or served until now, is looked at."""
        for grant in filter(None, (old, new)):
            namespace = grant.metadata.namespace
            owners = {(o.kind, o.name) for o in grant.metadata.owner_references if o.kind in AGENT_KINDS}
            # An owner that was deleted without what it owns is taken out by the garbage collector.
            if not owners and (name := workload_name(grant.metadata.name)):
                owners = {(kind, name) for kind in AGENT_KINDS}
            for kind, name in owners:
                self._enqueue(agent_key(kind, namespace, name))

    def on_platform(self, *_: KubeObject | None) -> None:
        """MLflow's CR changed; where its address has to last first, look again when it has."""
        if self._follow_mlflow() is not None:
            self._enqueue(PLATFORM_KEY)

    def _follow_mlflow(self) -> float | None:
        """Look at every agent, but only when MLflow's address changed or it came back."""
        before = self._server.current
        wait = self._server.observe(self._cluster.mlflow)
        # Agents that came while MLflow was away are looked at when it is back.
        if self._server.current not in (before, None):
            for kind, informer in self._cluster.agents.items():
                for agent in informer.store.values():
                    self._enqueue(agent_key(kind, agent.metadata.namespace, agent.metadata.name))
        return wait

    def _wake_peers(self, kind: str, namespace: str, name: str) -> None:
        for other in AGENT_KINDS:
            if other != kind and self._cluster.agent(other, namespace, name):
                self._enqueue(agent_key(other, namespace, name))


def _keys(namespace: str, name: str, grantees: Sequence[Grantee]) -> list[str]:
    return [agent_key(grantee.resource.kind, namespace, name) for grantee in grantees]
