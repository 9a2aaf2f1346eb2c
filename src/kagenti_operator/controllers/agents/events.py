"""What people are told about their agents, by Events on the workloads."""

from kagenti_operator import clock
from kagenti_operator.controllers.agents.injection import Injection
from kagenti_operator.controllers.cluster import AGENT_KINDS
from kagenti_operator.controllers.failure_events import describe_refusal
from kagenti_operator.kube.errors import ApiError
from kagenti_operator.kube.objects.agents import Agent
from kagenti_operator.mlflow.errors import MLflowError
from kagenti_operator.runtime.telemetry.events import EventRecorder, ObjectRef

# A little less than the half hour after which the recorder begins a new Event for what it hears again.
REPEAT_SECONDS = 1500.0

NOT_AVAILABLE = "ExperimentNotAvailable"
KEPT = "MLflowVariablesKept"
NOT_CONFIGURED = "MLflowNotConfigured"
NOT_GRANTED = "MLflowNotGranted"
# Of the kinds that keep a running pod when its template changes.
_START_ANEW = {"Sandbox": " A pod that runs already goes on without: suspend and resume the Sandbox."}


class AgentNews:
    """Says once what stays the same, and again only after a while.

    The recorder counts what it hears again, but remembers no more than some objects; agents that are looked
    at in turn, and are more than that, would get a new Event each time. Here two numbers are kept for each.
    """

    def __init__(self, events: EventRecorder) -> None:
        self._events = events
        # By agent and reason: a hash of what was told last, and when.
        self._told: dict[str, dict[str, tuple[int, float]]] = {}

    def experiment_refused(self, key: str, agent: Agent, error: MLflowError) -> None:
        """MLflow did not make, find or show the agent's experiment."""
        meta = agent.metadata
        self._warn(
            key,
            agent,
            NOT_AVAILABLE,
            f"Experiment '{meta.name}' in workspace '{meta.namespace}' could not be made or found: {error}",
        )

    def experiment_known(self, key: str) -> None:
        """There is nothing to complain of any more: the next refusal is news."""
        self._settle(key, NOT_AVAILABLE)

    def variables_kept(
        self, key: str, agent: Agent, kept: tuple[str, ...], left_out: tuple[str, ...] = ()
    ) -> None:
        """Variables that are the user's and win, if any, and those of ours that do not go with them."""
        if not kept:
            self._settle(key, KEPT)
            return
        without = f"; {', '.join(left_out)} would not go with them and are left out" if left_out else ""
        self._warn(
            key,
            agent,
            KEPT,
            f"{', '.join(kept)} set by the workload itself win over the operator's values{without}. Remove "
            "them to use the experiment that the operator made for this agent.",
        )

    def undone(self, key: str, agent: Agent) -> None:
        """Somebody undoes each time what is done to the workload."""
        self._warn(
            key,
            agent,
            "MLflowConfigurationUndone",
            "Somebody undoes each time what the operator does to MLFLOW_* variables and annotations of the "
            "pod template, and each time that rolls its pods: from now on it waits longer and longer, up to "
            "five minutes. Let whoever keeps the pod template leave these alone, or opt out by annotation "
            'mlflow.kagenti.io/inject: "disabled", with none of them in the template that is kept.',
        )

    def not_configured(self, key: str, agent: Agent, error: ApiError) -> None:
        """The API server did not take a change of the workload."""
        self._write_refused(key, agent, NOT_CONFIGURED, "The pod template could not be changed", error)

    def not_granted(self, key: str, agent: Agent, error: ApiError) -> None:
        """The API server did not take the agent's Role or RoleBinding."""
        trouble = "Its pods are not granted access to its MLflow experiment"
        self._write_refused(key, agent, NOT_GRANTED, trouble, error)

    def granted(self, key: str) -> None:
        """Role and RoleBinding are as they should be."""
        self._settle(key, NOT_GRANTED)

    def not_revoked(self, key: str, agent: Agent, error: ApiError) -> None:
        """The API server did not let Role or RoleBinding go."""
        trouble = "Its pods keep their access to the MLflow experiment"
        self._write_refused(key, agent, "MLflowNotRevoked", trouble, error)

    def configured(self, key: str, agent: Agent, injection: Injection) -> None:
        """The workload has its environment now."""
        self._settle(key, NOT_CONFIGURED)
        kind = key.partition("/")[0]
        self._events.normal(
            ObjectRef.of(AGENT_KINDS[kind], agent),
            "MLflowConfigured",
            f"Traces and runs go to experiment '{injection.experiment_name}' "
            f"({injection.experiment_id}) of workspace '{injection.workspace}'.{_START_ANEW.get(kind, '')}",
        )

    def forget(self, key: str) -> None:
        """The agent is none any more."""
        self._told.pop(key, None)

    def _write_refused(self, key: str, agent: Agent, reason: str, trouble: str, error: ApiError) -> None:
        text = describe_refusal(trouble, error)
        if text is not None:
            self._warn(key, agent, reason, text)

    def _warn(self, key: str, agent: Agent, reason: str, text: str) -> None:
        now, digest = clock.monotonic(), hash(text)
        before, at = self._told.get(key, {}).get(reason, (0, float("-inf")))
        if before == digest and now - at < REPEAT_SECONDS:
            return
        about = ObjectRef.of(AGENT_KINDS[key.partition("/")[0]], agent)
        if self._events.warning(about, reason, text):
            self._told.setdefault(key, {})[reason] = (digest, now)

    def _settle(self, key: str, reason: str) -> None:
        told = self._told.get(key)
        if told and told.pop(reason, None) and not told:
            del self._told[key]
