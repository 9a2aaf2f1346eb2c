"""What is remembered of each agent between reconciliations: made, and forgotten, in one place."""

import msgspec

from kagenti_operator.controllers.agents.experiments import KnownExperiment
from kagenti_operator.controllers.agents.keys import AgentKey
from kagenti_operator.controllers.agents.mlflow_turns import MLflowTurns
from kagenti_operator.controllers.agents.retry_after_denied import RetryAfterDenied
from kagenti_operator.controllers.agents.rollout import Pending
from kagenti_operator.controllers.agents.rollout_slots import RolloutSlots
from kagenti_operator.runtime.control.write_backoff import WriteBackoff
from kagenti_operator.runtime.telemetry.reporter import Reporter


class AgentState(msgspec.Struct, gc=False):
    """`experiment`: what is known of it; None before MLflow was asked. `pending`: written, not announced."""

    experiment: KnownExperiment | None = None
    pending: Pending | None = None


class AgentStates:
    """States by key, and what all agents share: places to roll, pauses, reports."""

    def __init__(
        self,
        slots: RolloutSlots,
        denied: RetryAfterDenied,
        turns: MLflowTurns,
        writes: WriteBackoff[AgentKey],
        reporter: Reporter[AgentKey],
    ) -> None:
        self.slots = slots
        self.denied = denied
        self.turns = turns
        self.writes = writes
        self.reporter = reporter
        self._states: dict[AgentKey, AgentState] = {}

    def get(self, key: AgentKey) -> AgentState:
        """The agent's state, made where there is none."""
        return self._states.setdefault(key, AgentState())

    def known(self, key: AgentKey) -> KnownExperiment | None:
        """What is known of the agent's experiment."""
        state = self._states.get(key)
        return state.experiment if state else None

    def pending(self, key: AgentKey) -> Pending | None:
        """What was written into the agent's workload and is not announced yet."""
        state = self._states.get(key)
        return state.pending if state else None

    def forget(self, key: AgentKey) -> None:
        """Nothing of the agent is left."""
        self._states.pop(key, None)
        self.slots.release(key)
        self.denied.forget(key)
        self.turns.forget(key)
        self.writes.forget(key)
        self.reporter.forget(key)
