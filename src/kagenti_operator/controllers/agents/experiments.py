"""What is known of the agents' experiments, and when MLflow is asked about them."""

import random
from collections.abc import Iterable
from dataclasses import dataclass, replace

import msgspec
import structlog

from kagenti_operator import clock
from kagenti_operator.controllers.agents.access import role_name
from kagenti_operator.controllers.agents.injection import injected
from kagenti_operator.controllers.cluster import AGENT_KINDS, Cluster
from kagenti_operator.kube.objects.agents import Agent
from kagenti_operator.mlflow.client import Experiment, MLflowClient
from kagenti_operator.mlflow.errors import MLflowError
from kagenti_operator.mlflow.retry import RetryPolicy

log = structlog.get_logger("controllers.agents")

# However large the fleet, MLflow is polled no more often than this.
POLLS_PER_SECOND = 2.0
# MLflow's authorization remembers an experiment's name for 60 s, and then a refusal for 300 s
# (docs/notes-mlflow.md): a renamed experiment is granted under both names until the first is over.
FORMER_NAME_SECONDS = 120.0
# Beyond a hiccup the work queue waits, and not a worker: those that need no MLflow are not to wait with it.
RETRIES = RetryPolicy(total=2.0)


@dataclass(frozen=True)
class Server:
    """Where MLflow is, for agents and for the operator."""

    tracking_uri: str
    rest_url: str


@dataclass(frozen=True, slots=True)
class Checked:
    """An agent's experiment as MLflow last told it, and when (monotonic seconds) to ask again.

    `tracking_uri`: of which MLflow. `former`: the name that the experiment had until lately, which MLflow's
    authorization may still check until then.
    """

    experiment: Experiment
    tracking_uri: str
    due: float
    former: tuple[str, float] | None = None

    def names(self, now: float) -> set[str]:
        """The names under which MLflow may check this experiment now."""
        held = {self.former[0]} if self.former and now < self.former[1] else set[str]()
        return {self.experiment.name} | held

    def next_look(self) -> float:
        """When something has to be done about it again."""
        return min(self.due, self.former[1]) if self.former else self.due


def check(
    before: Checked | None, experiment: Experiment, tracking_uri: str, *, now: float, due: float
) -> Checked:
    """What is known after MLflow was asked; a name that changed stays granted for a while."""
    former = before.former if before and before.former and now < before.former[1] else None
    if before and before.experiment.name != experiment.name:
        former = (before.experiment.name, now + FORMER_NAME_SECONDS)
    return Checked(experiment, tracking_uri, due, former)


class AgentExperiments:
    """Experiments by the agent's key."""

    def __init__(self, cluster: Cluster, mlflow: MLflowClient, *, rng: random.Random) -> None:
        self._cluster = cluster
        self._mlflow = mlflow
        self._rng = rng
        self._checked: dict[str, Checked] = {}

    async def resolve(self, key: str, agent: Agent, server: Server) -> Experiment:
        """The agent's experiment; MLflow is asked when nothing is known of it, or nothing new for long.

        Raises MLflowError; but while that MLflow cannot be reached, what it said before goes on to hold.
        """
        checked = self.recall(key, agent)
        known = checked if checked and checked.tracking_uri == server.tracking_uri else None
        if known and known.due > clock.monotonic():
            return known.experiment
        try:
            experiment = await self._follow(server, agent, checked)
        except MLflowError as error:
            if known is None or not error.retryable:
                raise
            log.debug("Cannot ask MLflow, trusting what it said before", key=key, error=str(error))
            self._checked[key] = replace(known, due=self._next_poll())
            return known.experiment
        self._checked[key] = check(
            checked, experiment, server.tracking_uri, now=clock.monotonic(), due=self._next_poll()
        )
        return experiment

    def recall(self, key: str, agent: Agent) -> Checked | None:
        """What is known of an agent; after a restart that is what the operator wrote into its Role.

        Whoever may change a workload may write anything into its annotations, or copy them from another; so
        what is granted is taken from the Role alone, and only for a workload that owns it.
        """
        if key not in self._checked and (written := self._written(agent)):
            earlier = injected(agent)
            self._checked[key] = replace(written, tracking_uri=earlier.tracking_uri if earlier else "")
        return self._checked.get(key)

    def _written(self, agent: Agent) -> Checked | None:
        meta = agent.metadata
        role = self._cluster.roles.store.get(meta.namespace, role_name(meta.name))
        if role is None or all(owner.uid != meta.uid for owner in role.metadata.owner_references):
            return None
        names, experiment_id = role.resource_names, role.metadata.annotations.experiment_id
        if not (names and experiment_id):
            return None
        experiment = Experiment(id=experiment_id, name=names[0])
        if self._is_anothers(agent, experiment):
            return None
        # A restarted operator asks MLflow about the fleet bit by bit; but at once where it was just renamed.
        wait = self._rng.uniform(0, self._poll_seconds()) if len(names) == 1 else 0.0
        return Checked(experiment, "", clock.monotonic() + wait)

    def names(self, keys: Iterable[str]) -> tuple[str, ...]:
        """The names that have to be granted to these agents, which share a Role."""
        now = clock.monotonic()
        known = [self._checked[key] for key in keys if key in self._checked]
        # An empty name among others would be as good as none to the API server's authorizer.
        return tuple(sorted({name for checked in known for name in checked.names(now) if name}))

    def common_id(self, keys: Iterable[str]) -> str | None:
        """The id of the experiment that all these agents have; None where one has another, or none yet."""
        checked = [self._checked.get(key) for key in keys]
        ids = {known.experiment.id if known else None for known in checked}
        return ids.pop() if len(ids) == 1 else None

    def next_look(self, key: str) -> float:
        """Seconds until something has to be done about a known experiment again."""
        return max(self._checked[key].next_look() - clock.monotonic(), 0.1)

    def forget(self, key: str) -> bool:
        """Know nothing of an agent any more; return whether something was known."""
        return self._checked.pop(key, None) is not None

    async def _follow(self, server: Server, agent: Agent, checked: Checked | None) -> Experiment:
        """The agent's experiment by its id, which outlives a new name; by name where there is none now."""
        workspace, found = agent.metadata.namespace, None
        if checked is not None:
            found = await self._mlflow.get_experiment(server.rest_url, workspace, checked.experiment.id)
        if found is not None and self._is_anothers(agent, found):
            found = None
        if found is not None and found.deleted:
            restored = await self._mlflow.restore_experiment(server.rest_url, workspace, found.id)
            found = msgspec.structs.replace(found, lifecycle_stage="active") if restored else None
        return found or await self._mlflow.ensure_experiment(server.rest_url, workspace, agent.metadata.name)

    def _is_anothers(self, agent: Agent, experiment: Experiment) -> bool:
        """Whether the experiment is named as that of somebody else.

        Ids begin anew in a new database of MLflow, where a remembered one may be anybody's.
        """
        namespace, name, settings = agent.metadata.namespace, experiment.name, self._cluster.settings
        if name == agent.metadata.name:
            return False
        if (namespace, name) == (settings.mlflow_workspace, settings.mlflow_experiment_name):
            return True
        return any(self._cluster.agent(kind, namespace, name) for kind in AGENT_KINDS)

    def _next_poll(self) -> float:
        return clock.monotonic() + self._poll_seconds() * self._rng.uniform(0.9, 1.1)

    def _poll_seconds(self) -> float:
        fleet = sum(len(informer.store) for informer in self._cluster.agents.values())
        return max(self._cluster.settings.mlflow_poll_seconds, fleet / POLLS_PER_SECOND)
