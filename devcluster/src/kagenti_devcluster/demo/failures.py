"""What a step raises when a check does not hold, and the hops of a trace's way that it may name."""

from collections.abc import Iterable
from enum import StrEnum


class Hop(StrEnum):
    """The hops of a trace's way, as docs/troubleshooting.md goes through them."""

    CLUSTER = "the local cluster"
    OPERATOR = "the operator"
    CONFIGURATION = "operator → ConfigMap otel-collector-config → collector"
    AGENT = "the agent"
    SENDING = "agent → collector"
    DELIVERY = "collector → MLflow"
    AUTHORIZATION = "MLflow → Kubernetes authorization"
    MLFLOW = "MLflow"


class StepFailed(Exception):
    """A check did not hold: which hop of the way is broken, what was seen there, and where to look further.

    `excerpt` are the lines that show it.
    """

    def __init__(self, hop: str, problem: str, *, excerpt: Iterable[str] = (), advice: str = "") -> None:
        super().__init__(f"{hop}: {problem}")
        self.hop = hop
        self.problem = problem
        self.excerpt = tuple(excerpt)
        self.advice = advice


class NoAnswer(StepFailed):
    """Nobody answered a request, or not in time: what it was, and whose log to read."""

    def __init__(self, hop: Hop, request: str, error: Exception, *, seconds: float, log: str) -> None:
        # That a time limit ran out is all that such an error says.
        reason = f"nothing within {seconds:g} s" if isinstance(error, TimeoutError) else str(error)
        problem = f"no answer to {request}: {reason or type(error).__name__}"
        super().__init__(hop, problem, advice=f"kagenti-devcluster logs {log}")
