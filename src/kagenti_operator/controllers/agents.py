"""Each agent's experiment: made in its namespace's workspace, granted to its pods, told to its containers."""

import random
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import msgspec
import structlog

from kagenti_operator.controllers.cluster import AGENT_KINDS, Cluster, agent_key
from kagenti_operator.controllers.injection import (
    Grantee,
    Injection,
    build_access,
    build_release,
    injected,
    is_marked,
    is_opted_out,
    plan_injection,
    role_name,
)
from kagenti_operator.controllers.rolls import PATIENCE_SECONDS, RollSlots
from kagenti_operator.kube.client import KubeClient
from kagenti_operator.kube.errors import ApiError
from kagenti_operator.kube.models import Agent, KubeObject, LabelledObject
from kagenti_operator.kube.resources import ROLE_BINDINGS, ROLES
from kagenti_operator.mlflow import status
from kagenti_operator.mlflow.client import Experiment, MLflowClient
from kagenti_operator.mlflow.errors import MLflowError
from kagenti_operator.runtime.applier import Applier
from kagenti_operator.runtime.clock import Clock
from kagenti_operator.runtime.events import EventRecorder, ObjectRef

log = structlog.get_logger("controllers.agents")

# However large the fleet, MLflow is polled no more often than this.
POLLS_PER_SECOND = 2.0
REFUSED_SECONDS = 30.0
# MLflow's authorization remembers an experiment's name for 60 s, and then a refusal for 300 s
# (docs/notes-mlflow.md): a renamed experiment is granted under both names until the first is over.
FORMER_NAME_SECONDS = 120.0


@dataclass(frozen=True)
class Server:
    """Where MLflow is, for agents and for the operator."""

    tracking_uri: str
    rest_url: str


@dataclass(frozen=True)
class Checked:
    """An agent's experiment as MLflow last told it, and when (monotonic seconds) to ask again.

    `former`: the name that it had until lately, which MLflow's authorization may still check until then.
    """

    experiment: Experiment
    due: float
    former: tuple[str, float] | None = None

    def names(self, now: float) -> set[str]:
        """The names under which MLflow may check this experiment now."""
        held = {self.former[0]} if self.former and now < self.former[1] else set[str]()
        return {self.experiment.name} | held

    def next_look(self) -> float:
        """When something has to be done about it again."""
        return min(self.due, self.former[1]) if self.former else self.due


def check(before: Checked | None, experiment: Experiment, *, now: float, due: float) -> Checked:
    """What is known after MLflow was asked; a name that changed stays granted for a while."""
    former = before.former if before and before.former and now < before.former[1] else None
    if before and before.experiment.name != experiment.name:
        former = (before.experiment.name, now + FORMER_NAME_SECONDS)
    return Checked(experiment, due, former)


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
        clock: Clock,
        rng: random.Random,
        max_rolls: int,
    ) -> None:
        self._client = client
        self._cluster = cluster
        self._mlflow = mlflow
        self._events = events
        self._enqueue = enqueue
        self._clock = clock
        self._rng = rng
        self._applier = Applier(client)
        self._rolls = RollSlots(max_rolls, clock, enqueue)
        self._checked: dict[str, Checked] = {}
        self._server: Server | None = None

    async def reconcile(self, key: str) -> float | None:
        """Bring one agent to what section 2.6 of the contract says: access first, then its environment."""
        kind, namespace, name = key.split("/", 2)
        agent = self._cluster.agent(kind, namespace, name)
        if agent is None or is_opted_out(agent):
            await self._release(kind, namespace, name, agent)
            return None
        server = self._observe()
        if server is None or agent.metadata.deletion_timestamp:
            return None
        try:
            experiment = await self._experiment(key, agent, server)
        except MLflowError as error:
            self._tell_refused(kind, agent, error)
            if error.retryable:
                raise
            return REFUSED_SECONDS
        await self._grant(namespace, name)
        injection = Injection(
            tracking_uri=server.tracking_uri,
            experiment_id=experiment.id,
            experiment_name=experiment.name,
            workspace=namespace,
        )
        if not await self._inject(key, kind, agent, injection):
            return PATIENCE_SECONDS
        return max(self._checked[key].next_look() - self._clock.monotonic(), 0.1)

    # --- experiment ------------------------------------------------------------------------------------

    async def _experiment(self, key: str, agent: Agent, server: Server) -> Experiment:
        checked = self._checked.get(key)
        earlier = injected(agent)
        if checked is None and earlier is not None and earlier.tracking_uri == server.tracking_uri:
            # A restarted operator trusts what it wrote, and asks MLflow about the fleet bit by bit.
            known = Experiment(id=earlier.experiment_id, name=earlier.experiment_name)
            checked = Checked(known, self._clock.monotonic() + self._rng.uniform(0, self._poll_seconds()))
            self._checked[key] = checked
        if checked is not None and checked.due > self._clock.monotonic():
            return checked.experiment
        known_id = checked.experiment.id if checked else earlier.experiment_id if earlier else None
        experiment = await self._follow(server, agent.metadata.namespace, agent.metadata.name, known_id)
        now = self._clock.monotonic()
        due = now + self._poll_seconds() * self._rng.uniform(0.9, 1.1)
        self._checked[key] = check(checked, experiment, now=now, due=due)
        return experiment

    async def _follow(self, server: Server, workspace: str, name: str, known_id: str | None) -> Experiment:
        """The agent's experiment by its id, which outlives a new name; by name where there is none now."""
        found = None
        if known_id is not None:
            found = await self._mlflow.get_experiment(server.rest_url, workspace, known_id)
        if found is not None and found.deleted:
            restored = await self._mlflow.restore_experiment(server.rest_url, workspace, found.id)
            found = msgspec.structs.replace(found, lifecycle_stage="active") if restored else None
        return found or await self._mlflow.ensure_experiment(server.rest_url, workspace, name)

    def _poll_seconds(self) -> float:
        fleet = sum(len(i.store) for i in self._cluster.agents.values())
        return max(self._cluster.settings.mlflow_poll_seconds, fleet / POLLS_PER_SECOND)

    # --- access ----------------------------------------------------------------------------------------

    def _grantees(self, namespace: str, name: str) -> tuple[Grantee, ...]:
        found = ((r, self._cluster.agent(kind, namespace, name)) for kind, r in AGENT_KINDS.items())
        return tuple(
            Grantee(resource=resource, agent=agent)
            for resource, agent in found
            if agent is not None and not is_opted_out(agent) and not agent.metadata.deletion_timestamp
        )

    async def _grant(self, namespace: str, name: str) -> None:
        grantees = self._grantees(namespace, name)
        keys = [agent_key(g.resource.kind, namespace, name) for g in grantees]
        now = self._clock.monotonic()
        names = {held for k in keys if k in self._checked for held in self._checked[k].names(now)}
        role, binding = build_access(namespace, name, tuple(sorted(names)), grantees)
        # The binding names the Role, and a Role without a binding grants nothing: this order is safe.
        await self._applier.ensure(ROLES, role, self._cluster.roles.store.get(namespace, role_name(name)))
        await self._applier.ensure(
            ROLE_BINDINGS, binding, self._cluster.agent_bindings.store.get(namespace, role_name(name))
        )

    # --- workload --------------------------------------------------------------------------------------

    async def _inject(self, key: str, kind: str, agent: Agent, injection: Injection) -> bool:
        """Apply what is missing; False while too many other workloads roll."""
        resource = AGENT_KINDS[kind]
        plan = plan_injection(agent, resource, injection)
        if plan.kept:
            self._events.warning(
                ObjectRef.of(resource, agent),
                "MLflowVariablesKept",
                f"{', '.join(plan.kept)} set by the workload itself win over the operator's values. Remove "
                "them to use the experiment that the operator made for this agent.",
            )
        if plan.body is None:
            return True
        if not self._rolls.take(key):
            return False
        try:
            await self._client.apply(resource, plan.body)
        except ApiError as error:
            self._rolls.release(key)
            if error.not_found:
                return True
            self._tell_conflict(kind, agent, error)
            raise
        log.info(
            "Configured agent for MLflow",
            kind=kind,
            namespace=agent.metadata.namespace,
            name=agent.metadata.name,
            experimentID=injection.experiment_id,
        )
        self._events.normal(
            ObjectRef.of(resource, agent),
            "MLflowConfigured",
            f"Traces and runs go to experiment '{injection.experiment_name}' "
            f"({injection.experiment_id}) of workspace '{injection.workspace}'.",
        )
        return True

    async def _release(self, kind: str, namespace: str, name: str, agent: Agent | None) -> None:
        """Take out what is ours: environment and annotations first, then the grants. Data stays in MLflow."""
        key = agent_key(kind, namespace, name)
        known = self._checked.pop(key, None) is not None
        role = self._cluster.roles.store.get(namespace, role_name(name))
        binding = self._cluster.agent_bindings.store.get(namespace, role_name(name))
        resource = AGENT_KINDS[kind]
        if agent is None and (known or role or binding):
            # Gone from the cache means deleted, or no longer labelled: only the API server knows.
            agent = await self._client.get(resource, name, namespace)
        if agent is not None and is_marked(agent) and not agent.metadata.deletion_timestamp:
            await self._client.apply(resource, build_release(agent, resource))
            log.info("Released workload from MLflow", kind=kind, namespace=namespace, name=name)
        self._rolls.release(key)
        if self._grantees(namespace, name):
            self._wake_peers(kind, namespace, name)
            return
        await self._applier.absent(ROLE_BINDINGS, binding)
        await self._applier.absent(ROLES, role)

    # --- what wakes it ---------------------------------------------------------------------------------

    def _observe(self) -> Server | None:
        cr = self._cluster.mlflow
        if cr is None or not status.is_available(cr):
            return None
        tracking_uri, rest_url = status.tracking_uri(cr), status.rest_url(cr)
        return Server(tracking_uri, rest_url) if tracking_uri and rest_url else None

    def on_agent(self, kind: str, old: KubeObject | None, new: KubeObject | None) -> None:
        """An agent appeared, changed or went."""
        changed: Any = new or old
        key = agent_key(kind, changed.metadata.namespace, changed.metadata.name)
        self._rolls.follow(key, new)  # pyright: ignore[reportArgumentType]
        self._enqueue(key)

    def on_grant(self, old: LabelledObject | None, new: LabelledObject | None) -> None:
        """A Role or RoleBinding of ours changed: whoever it serves is looked at."""
        changed = new or old
        assert changed is not None
        for owner in changed.metadata.owner_references:
            if owner.kind in AGENT_KINDS:
                self._enqueue(agent_key(owner.kind, changed.metadata.namespace, owner.name))

    def on_platform(self, *_: KubeObject | None) -> None:
        """Look at every agent, but only when MLflow's address changed or it came back."""
        server = self._observe()
        if server == self._server:
            return
        # Kept when it is None too: agents that came while MLflow was away are looked at when it is back.
        self._server = server
        if server is None:
            return
        for kind, informer in self._cluster.agents.items():
            for agent in informer.store.values():
                self._enqueue(agent_key(kind, agent.metadata.namespace, agent.metadata.name))

    def _wake_peers(self, kind: str, namespace: str, name: str) -> None:
        for other in AGENT_KINDS:
            if other != kind and self._cluster.agent(other, namespace, name):
                self._enqueue(agent_key(other, namespace, name))

    # --- telling ---------------------------------------------------------------------------------------

    def _tell_refused(self, kind: str, agent: Agent, error: MLflowError) -> None:
        meta = agent.metadata
        self._events.warning(
            ObjectRef.of(AGENT_KINDS[kind], agent),
            "ExperimentNotAvailable",
            f"Experiment '{meta.name}' in workspace '{meta.namespace}' could not be made or found: {error}",
        )

    def _tell_conflict(self, kind: str, agent: Agent, error: ApiError) -> None:
        if error.conflict:
            return
        self._events.warning(
            ObjectRef.of(AGENT_KINDS[kind], agent),
            "MLflowNotConfigured",
            f"The pod template could not be changed: {error}",
        )
