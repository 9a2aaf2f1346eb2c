"""Whether MLflow is gone for good: its CR was deleted, and none has come in its place."""

from kagenti_operator import clock
from kagenti_operator.controllers.dependencies import Dependencies
from kagenti_operator.controllers.list_now import list_now
from kagenti_operator.controllers.mlflow.facts import MLflowFacts, choose_cr
from kagenti_operator.controllers.singleton import build_singleton
from kagenti_operator.kube.client import KubeClient
from kagenti_operator.kube.resources import MLFLOWS
from kagenti_operator.runtime.control.controller import Controller
from kagenti_operator.runtime.observable import Observable

# People replace a CR, and platforms their API: what went for a while costs nobody its environment.
GONE_SECONDS = 600.0
# The cache has to learn of one that is there.
AGAIN_SECONDS = 15.0


def setup(dependencies: Dependencies, mlflow: MLflowFacts, gone: Observable[bool]) -> Controller[str]:
    """Watch the MLflow CR; what is found goes into `gone`.

    An operator that is started while there is none waits anew: it cannot know since when.
    """
    reconciler = AbsenceReconciler(dependencies.client, mlflow, Absence(gone))
    return build_singleton(dependencies, "mlflow-absence", reconciler.reconcile, mlflow.mlflows)


class AbsenceReconciler:
    """Measures by the cache, and asks the API server before the environments of agents go for it."""

    def __init__(self, client: KubeClient, mlflow: MLflowFacts, absence: "Absence") -> None:
        self._client = client
        self._mlflow = mlflow
        self._absence = absence

    async def reconcile(self) -> float | None:
        """Find out whether MLflow is gone; return after how many seconds to look again."""
        left = self._absence.observe(present=self._mlflow.cr is not None)
        if left != 0:
            return left
        if choose_cr(await list_now(self._client, MLFLOWS)) is not None:
            return AGAIN_SECONDS
        self._absence.confirm()
        return None


class Absence:
    """Measures for how long there has been no CR."""

    def __init__(self, gone: Observable[bool]) -> None:
        self._gone = gone
        self._since: float | None = None

    def observe(self, *, present: bool) -> float | None:
        """Take note of whether there is one; return after how many seconds to look again.

        That is at once where only `confirm` is missing.
        """
        if present:
            self._since = None
            self._gone.set(False)
            return None
        if self._gone.value:
            return None
        now = clock.monotonic()
        self._since = self._since if self._since is not None else now
        return max(self._since + GONE_SECONDS - now, 0.0)

    def confirm(self) -> None:
        """There is none indeed."""
        self._gone.set(True)
