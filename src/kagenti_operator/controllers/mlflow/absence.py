"""Whether MLflow is gone for good: its CR was deleted, and none has come in its place."""

from kagenti_operator import clock
from kagenti_operator.controllers.dependencies import Dependencies
from kagenti_operator.controllers.mlflow.facts import MLflowFacts
from kagenti_operator.controllers.singleton import build_singleton
from kagenti_operator.runtime.control.controller import Controller
from kagenti_operator.runtime.observable import Observable

# People replace a CR, and platforms their API: what went for a while costs nobody its environment.
GONE_SECONDS = 600.0


def setup(dependencies: Dependencies, mlflow: MLflowFacts, gone: Observable[bool]) -> Controller[str]:
    """Watch the MLflow CR; what is found goes into `gone`.

    An operator that is started while there is none waits anew: it cannot know since when.
    """
    absence = Absence(gone)

    async def reconcile() -> float | None:
        return absence.observe(present=mlflow.cr is not None)

    return build_singleton(dependencies, "mlflow-absence", reconcile, mlflow.mlflows)


class Absence:
    """Measures for how long there has been no CR."""

    def __init__(self, gone: Observable[bool]) -> None:
        self._gone = gone
        self._since: float | None = None

    def observe(self, *, present: bool) -> float | None:
        """Take note of whether there is one; return after how many seconds to look again."""
        if present:
            self._since = None
            self._gone.set(False)
            return None
        now = clock.monotonic()
        self._since = self._since if self._since is not None else now
        left = self._since + GONE_SECONDS - now
        self._gone.set(left <= 0)
        return left if left > 0 else None
