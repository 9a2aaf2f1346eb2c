"""What is known of agents' experiments, and when MLflow is asked about them."""

import random
import sys
from collections.abc import Iterable
from typing import Any, Protocol

import msgspec

from kagenti_operator import clock
from kagenti_operator.controllers.agents.access import recorded_experiment
from kagenti_operator.controllers.agents.facts import AgentFacts
from kagenti_operator.controllers.agents.injection import injected
from kagenti_operator.controllers.agents.keys import AgentKey
from kagenti_operator.controllers.agents.mlflow_turns import MLflowTurns
from kagenti_operator.controllers.agents.tracking_endpoint import Endpoint
from kagenti_operator.controllers.settings import Settings
from kagenti_operator.http.retry import RetryPolicy
from kagenti_operator.kube.objects.agents import Agent
from kagenti_operator.mlflow.client import Experiment, MLflowClient
from kagenti_operator.mlflow.errors import MLflowError
from kagenti_operator.runtime.observable import Observable

# However large the fleet, MLflow is polled no more often than this.
POLLS_PER_SECOND = 2.0
# MLflow's authorization remembers an experiment's name for 60 s, and then a refusal for 300 s
# (docs/notes-mlflow.md): a renamed experiment is granted under both names until the first is over.
FORMER_NAME_SECONDS = 120.0
# Meanwhile it is looked whether that name has become another agent's.
FORMER_LOOK_SECONDS = 5.0
# Beyond a hiccup the work queue waits, and not a worker: those that need no MLflow must not wait with it.
RETRIES = RetryPolicy(total=2.0)


# No garbage collection, as for what it is read from: there are as many as agents.
class KnownExperiment(msgspec.Struct, frozen=True, gc=False):
    """An agent's experiment as MLflow last had it, and when (by the loop's clock) to ask again.

    `tracking_uri`, `uid`: of which MLflow, by its address and its CR; the latter is empty where only a Role
    of an earlier version says what is known. `former`: the name that the experiment had until lately, which
    MLflow's authorization may still check until then.
    """

    experiment: Experiment
    tracking_uri: str
    due: float
    former: tuple[str, float] | None = None
    uid: str = ""

    def names(self, now: float) -> set[str]:
        """The names under which MLflow may check this experiment now."""
        held = {self.former[0]} if self.former and now < self.former[1] else set[str]()
        return {self.experiment.name} | held

    def is_of(self, endpoint: Endpoint) -> bool:
        """Whether that MLflow said it: one that is recreated at the same address has other experiments."""
        return self.tracking_uri == endpoint.tracking_uri and self.uid in ("", endpoint.uid)

    def has_become(self, found: Experiment, now: float) -> bool:
        """Whether what MLflow shows by that id is this experiment, whatever its name is by now.

        A Role of an earlier version does not say when it was created: then it has to have a known name.
        """
        if self.experiment.creation_time is None:
            return self.experiment.id == found.id and found.name in self.names(now)
        return self.experiment.is_same(found)

    def next_look(self, now: float) -> float:
        """Seconds until something has to be done about it again."""
        due = min(self.due, self.former[1], now + FORMER_LOOK_SECONDS) if self.former else self.due
        return max(due - now, 0.1)


def follow_name(
    before: KnownExperiment | None, experiment: Experiment, endpoint: Endpoint, *, now: float, due: float
) -> KnownExperiment:
    """What is known after MLflow was asked; a name that changed stays granted for a while.

    That of another experiment does not: in another database the name may be anybody's.
    """
    if before and not before.has_become(experiment, now):
        before = None
    former = before.former if before and before.former and now < before.former[1] else None
    if before and before.experiment.name != experiment.name:
        former = (before.experiment.name, now + FORMER_NAME_SECONDS)
    return KnownExperiment(experiment, endpoint.tracking_uri, due, former, endpoint.uid)


def names_to_grant(known: Iterable[KnownExperiment | None], now: float) -> tuple[str, ...]:
    """The names of these experiments, as far as they are known.

    An empty name among others would be as good as none to the API server's authorizer, and is left out.
    """
    return tuple(sorted({name for it in known if it for name in it.names(now) if name}))


def common_experiment(known: Iterable[KnownExperiment | None]) -> Experiment | None:
    """The experiment that all of these are, None where they are several or one of them is not known."""
    experiments = [it.experiment if it else None for it in known]
    first = experiments[0] if experiments else None
    if first is None or any(it is None or not first.is_same(it) for it in experiments):
        return None
    return first


def common_uid(known: Iterable[KnownExperiment | None]) -> str:
    """The uid of the MLflow CR that all of these are of, empty where it is not known, or not one."""
    uids = {it.uid if it else "" for it in known}
    return uids.pop() if len(uids) == 1 else ""


_COLLECTORS = (
    "it is the collector's, which no agent is let in to: give the workload another name, or the collector "
    "another experiment (the chart's value mlflow.experimentName)"
)


class ExperimentTaken(MLflowError):
    """The experiment of the agent's name is somebody else's, and is not granted."""

    def __init__(self, message: str) -> None:
        super().__init__(None, "TAKEN", message)


class CollectorsUnknown(MLflowError):
    """What was found by the agent's name is granted only once it is known which one is the collector's."""

    def __init__(self) -> None:
        super().__init__(None, "COLLECTORS_UNKNOWN", "it is not known yet whether it is the collector's")


class CollectorsExperiments(Protocol):
    """The experiments that the collector sends to, or did: no agent is granted one."""

    resolved: Observable[Any]

    def is_known(self, workspace: str) -> bool:
        """Whether it is known which experiments of a workspace are the collector's."""
        ...

    def has_name(self, workspace: str, name: str) -> bool:
        """Whether that is the name of the collector's experiment, or the one that it is to have."""
        ...

    def owns(self, workspace: str, experiment: Experiment) -> bool:
        """Whether an experiment of a workspace is the collector's, or was."""
        ...


class AgentExperiments:
    """Asks MLflow for agents' experiments. Keeps no state: what is known comes in, and goes out."""

    def __init__(
        self,
        settings: Settings,
        facts: AgentFacts,
        mlflow: MLflowClient,
        rng: random.Random,
        collectors: CollectorsExperiments,
        turns: MLflowTurns,
    ) -> None:
        self._settings = settings
        self._names = settings.names
        self._facts = facts
        self._mlflow = mlflow
        self._rng = rng
        self._collectors = collectors
        self._turns = turns

    async def resolve(
        self, key: AgentKey, agent: Agent, endpoint: Endpoint, before: KnownExperiment | None
    ) -> KnownExperiment:
        """Return the agent's experiment; MLflow is asked where nothing is known of it, or nothing new.

        Raises MLflowError; but while that MLflow cannot be reached, what it said before goes on to hold.
        """
        known = before if before and before.is_of(endpoint) else None
        if known and self._collectors.owns(key.namespace, known.experiment):
            # It took what it found by its name.
            known = None
        now = clock.monotonic()
        if known and known.due > now:
            return known
        try:
            async with self._turns.turn(key):
                experiment = await self._ask(key, agent, endpoint, before)
        except MLflowError as error:
            if known is None or not known.experiment.name or not error.retryable:
                raise
            return msgspec.structs.replace(known, due=self._next_poll())
        now = clock.monotonic()
        return follow_name(before, experiment, endpoint, now=now, due=self._next_poll())

    def recall(self, key: AgentKey, agent: Agent) -> KnownExperiment | None:
        """Return what the operator wrote into the agent's Role before it was restarted.

        Whoever may change a workload may write anything into its annotations, or copy them from another; so
        what is granted is taken from the Role alone, and only for a workload that owns it.
        """
        role = self._facts.role(key)
        if role is None or all(owner.uid != agent.metadata.uid for owner in role.metadata.owner_references):
            return None
        experiment = recorded_experiment(role)
        if experiment is None or self._whose(key, experiment, before=experiment):
            return None
        # A restarted operator asks MLflow about the fleet bit by bit; but at once where it was just renamed,
        # and where an empty Role does not say the name.
        now, former = clock.monotonic(), role.resource_names[1:]
        return KnownExperiment(
            experiment,
            # One copy for all agents.
            sys.intern(earlier.tracking_uri) if (earlier := injected(agent)) else "",
            due=now if former or not experiment.name else now + self._rng.uniform(0, self._poll_seconds()),
            former=(former[0], now + FORMER_NAME_SECONDS) if former else None,
            uid=sys.intern(role.metadata.annotations.mlflow_uid or ""),
        )

    def without_anothers_name(self, key: AgentKey, known: KnownExperiment) -> KnownExperiment:
        """What is known without a former name that is another's by now: it would be let in to that one's."""
        name = known.former[0] if known.former else key.name
        if name == key.name:
            return known
        others = self._facts.twins(key._replace(name=name)) or self._facts.is_granted_to_others(key, name)
        if others or self._collectors.has_name(key.namespace, name):
            return msgspec.structs.replace(known, former=None)
        return known

    async def _ask(
        self, key: AgentKey, agent: Agent, endpoint: Endpoint, before: KnownExperiment | None
    ) -> Experiment:
        """The agent's experiment by its id, which outlives a new name; by name where there is none now.

        Raises ExperimentTaken, and MLflowError.
        """
        url, workspace, found = endpoint.rest_url, key.namespace, None
        if before is not None:
            found = await self._mlflow.get_experiment(url, workspace, before.experiment.id)
            ours = found and before.has_become(found, clock.monotonic())
            if found and (not ours or self._whose(key, found, before=before.experiment)):
                # In another database that id is a stranger's; or it is the collector's, or named as that.
                found = None
        if found is not None and found.deleted:
            restored = await self._mlflow.restore_experiment(url, workspace, found.id)
            found = msgspec.structs.replace(found, lifecycle_stage="active") if restored else None
        return found or await self._ensure_by_name(key, agent, url)

    async def _ensure_by_name(self, key: AgentKey, agent: Agent, url: str) -> Experiment:
        name = agent.metadata.name
        if self._collectors.has_name(key.namespace, name):
            raise ExperimentTaken(_COLLECTORS)
        found = await self._mlflow.ensure_experiment(url, key.namespace, name)
        if self._is_collectors(key.namespace, found):
            raise ExperimentTaken(_COLLECTORS)
        if owner := self._whose(key, found, before=None) or self._recorded_of(key, found):
            raise ExperimentTaken(
                f"the one that has this name now is {owner}'s, which no other agent is let in to: give it "
                "another name in MLflow"
            )
        if not self._collectors.is_known(key.namespace):
            raise CollectorsUnknown
        return found

    def _whose(self, key: AgentKey, experiment: Experiment, *, before: Experiment | None) -> str | None:
        """Whose an experiment is, if not the agent's; `before`: what is known of the agent's.

        Another agent's name says nothing where the creation time tells that it is this agent's: who gives it
        up leaves it, with all traces, to the agent that has its name by now.
        """
        name, workspace = experiment.name, key.namespace
        if self._is_collectors(workspace, experiment):
            return "the collector"
        if before and before.creation_time is not None:
            return None
        if name != key.name and self._facts.twins(key._replace(name=name)):
            return f"agent '{name}'"
        return None

    def _is_collectors(self, workspace: str, experiment: Experiment) -> bool:
        """Whether it is the collector's, by its identity or by its name."""
        owned = self._collectors.owns(workspace, experiment)
        return owned or self._collectors.has_name(workspace, experiment.name)

    def _recorded_of(self, key: AgentKey, experiment: Experiment) -> str | None:
        """The other agent on whose Role an experiment is recorded."""
        for role in self._facts.other_roles(key, experiment.id):
            if (recorded := recorded_experiment(role)) and recorded.is_same(experiment):
                return f"agent '{self._names.workload_of_role(role.metadata.name)}'"
        return None

    def _next_poll(self) -> float:
        return clock.monotonic() + self._poll_seconds() * self._rng.uniform(0.9, 1.1)

    def _poll_seconds(self) -> float:
        return max(self._settings.mlflow_poll_seconds, len(self._facts) / POLLS_PER_SECOND)
