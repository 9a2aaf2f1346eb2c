"""What is known of agents' experiments, and when MLflow is asked about them."""

import random
from collections.abc import Iterable
from dataclasses import dataclass, replace

import msgspec

from kagenti_operator import clock
from kagenti_operator.controllers.agents.facts import AgentFacts, AgentKey
from kagenti_operator.controllers.agents.injection import injected
from kagenti_operator.controllers.agents.tracking_endpoint import Endpoint
from kagenti_operator.controllers.settings import Settings
from kagenti_operator.kube.objects.agents import Agent
from kagenti_operator.mlflow.client import Experiment, MLflowClient
from kagenti_operator.mlflow.errors import MLflowError
from kagenti_operator.mlflow.retry import RetryPolicy

# However large the fleet, MLflow is polled no more often than this.
POLLS_PER_SECOND = 2.0
# MLflow's authorization remembers an experiment's name for 60 s, and then a refusal for 300 s
# (docs/notes-mlflow.md): a renamed experiment is granted under both names until the first is over.
FORMER_NAME_SECONDS = 120.0
# Beyond a hiccup the work queue waits, and not a worker: those that need no MLflow must not wait with it.
RETRIES = RetryPolicy(total=2.0)


@dataclass(frozen=True, slots=True)
class KnownExperiment:
    """An agent's experiment as MLflow last had it, and when (by the loop's clock) to ask again.

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

    def next_look(self, now: float) -> float:
        """Seconds until something has to be done about it again."""
        due = min(self.due, self.former[1]) if self.former else self.due
        return max(due - now, 0.1)


def follow_name(
    before: KnownExperiment | None, experiment: Experiment, tracking_uri: str, *, now: float, due: float
) -> KnownExperiment:
    """What is known after MLflow was asked; a name that changed stays granted for a while."""
    former = before.former if before and before.former and now < before.former[1] else None
    if before and before.experiment.name != experiment.name:
        former = (before.experiment.name, now + FORMER_NAME_SECONDS)
    return KnownExperiment(experiment, tracking_uri, due, former)


def names_to_grant(known: Iterable[KnownExperiment | None], now: float) -> tuple[str, ...]:
    """The names of these experiments, as far as they are known.

    An empty name among others would be as good as none to the API server's authorizer, and is left out.
    """
    return tuple(sorted({name for it in known if it for name in it.names(now) if name}))


def common_id(known: Iterable[KnownExperiment | None]) -> str | None:
    """The id of these experiments, None where they are several or one of them is not known."""
    ids = {it.experiment.id if it else None for it in known}
    return ids.pop() if len(ids) == 1 else None


class AgentExperiments:
    """Asks MLflow for agents' experiments. Keeps no state: what is known comes in, and goes out."""

    def __init__(
        self, settings: Settings, facts: AgentFacts, mlflow: MLflowClient, rng: random.Random
    ) -> None:
        self._settings = settings
        self._facts = facts
        self._mlflow = mlflow
        self._rng = rng

    async def resolve(
        self, key: AgentKey, agent: Agent, endpoint: Endpoint, before: KnownExperiment | None
    ) -> KnownExperiment:
        """Return the agent's experiment; MLflow is asked where nothing is known of it, or nothing new.

        Raises MLflowError; but while that MLflow cannot be reached, what it said before goes on to hold.
        """
        known = before if before and before.tracking_uri == endpoint.tracking_uri else None
        now = clock.monotonic()
        if known and known.due > now:
            return known
        try:
            experiment = await self._ask(key, agent, endpoint, before)
        except MLflowError as error:
            if known is None or not error.retryable:
                raise
            return replace(known, due=self._next_poll())
        now = clock.monotonic()
        return follow_name(before, experiment, endpoint.tracking_uri, now=now, due=self._next_poll())

    def recall(self, key: AgentKey, agent: Agent) -> KnownExperiment | None:
        """Return what the operator wrote into the agent's Role before it was restarted.

        Whoever may change a workload may write anything into its annotations, or copy them from another; so
        what is granted is taken from the Role alone, and only for a workload that owns it.
        """
        role = self._facts.role(key)
        if role is None or all(owner.uid != agent.metadata.uid for owner in role.metadata.owner_references):
            return None
        names, experiment_id = role.resource_names, role.metadata.annotations.experiment_id
        if not (names and experiment_id):
            return None
        experiment = Experiment(id=experiment_id, name=names[0])
        if self._is_anothers(key, experiment):
            return None
        # A restarted operator asks MLflow about the fleet bit by bit; but at once where it was just renamed.
        wait = self._rng.uniform(0, self._poll_seconds()) if len(names) == 1 else 0.0
        earlier = injected(agent)
        return KnownExperiment(experiment, earlier.tracking_uri if earlier else "", clock.monotonic() + wait)

    async def _ask(
        self, key: AgentKey, agent: Agent, endpoint: Endpoint, before: KnownExperiment | None
    ) -> Experiment:
        """The agent's experiment by its id, which outlives a new name; by name where there is none now."""
        url, workspace, found = endpoint.rest_url, key.namespace, None
        if before is not None:
            found = await self._mlflow.get_experiment(url, workspace, before.experiment.id)
        if found is not None and self._is_anothers(key, found):
            found = None
        if found is not None and found.deleted:
            restored = await self._mlflow.restore_experiment(url, workspace, found.id)
            found = msgspec.structs.replace(found, lifecycle_stage="active") if restored else None
        return found or await self._mlflow.ensure_experiment(url, workspace, agent.metadata.name)

    def _is_anothers(self, key: AgentKey, experiment: Experiment) -> bool:
        """Whether the experiment is named as that of somebody else.

        Ids begin anew in a new database of MLflow, where a remembered one may be anybody's.
        """
        if experiment.name == key.name:
            return False
        collectors = (self._settings.mlflow_workspace, self._settings.mlflow_experiment_name)
        if (key.namespace, experiment.name) == collectors:
            return True
        return bool(self._facts.twins(key._replace(name=experiment.name)))

    def _next_poll(self) -> float:
        return clock.monotonic() + self._poll_seconds() * self._rng.uniform(0.9, 1.1)

    def _poll_seconds(self) -> float:
        return max(self._settings.mlflow_poll_seconds, len(self._facts) / POLLS_PER_SECOND)
