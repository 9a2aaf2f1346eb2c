"""Finds out, by asking, under which URL MLflow takes spans."""

from dataclasses import dataclass

import structlog

from kagenti_operator.controllers.dependencies import Dependencies
from kagenti_operator.controllers.mlflow.facts import MLflowFacts
from kagenti_operator.controllers.singleton import build_singleton
from kagenti_operator.kube.objects.models import MLflow
from kagenti_operator.mlflow import otlp_path, status
from kagenti_operator.mlflow.client import MLflowClient
from kagenti_operator.mlflow.errors import MLflowError
from kagenti_operator.runtime.control.controller import Controller
from kagenti_operator.runtime.observable import Observable
from kagenti_operator.runtime.telemetry.standing import Standing

log = structlog.get_logger(__name__)

# What tells nothing is asked again: a server that starts, a network that comes back.
AGAIN_SECONDS = 15.0


@dataclass(frozen=True)
class TracesURL:
    """Where the MLflow of that address takes spans."""

    address: str
    url: str


def setup(
    dependencies: Dependencies, mlflow: MLflowFacts, traces: Observable[TracesURL | None]
) -> Controller[str]:
    """Watch what may mean another server: address, version, endpoints. What is found goes into `traces`."""
    reconciler = TracesURLReconciler(dependencies, mlflow, traces)
    return build_singleton(dependencies, "traces-url", reconciler.reconcile, mlflow.mlflows, mlflow.endpoints)


def find_traces_url(cr: MLflow, known: TracesURL | None) -> str | None:
    """The URL for spans to that MLflow: what was found for its address; the gateway where there is none."""
    address = status.address(cr)
    if address is None:
        return status.gateway_traces_url(cr)
    return known.url if known and known.address == address else None


class TracesURLReconciler:
    """Asks once for each address, version and set of endpoints."""

    def __init__(
        self, dependencies: Dependencies, mlflow: MLflowFacts, traces: Observable[TracesURL | None]
    ) -> None:
        self._client = dependencies.mlflow
        self._mlflow = mlflow
        self._traces = traces
        self._asked: object = None
        self._unclear = Standing[None]()

    async def reconcile(self) -> float | None:
        """Ask where something changed. What was found for an address stays while it does not answer."""
        cr = self._mlflow.cr
        address = status.address(cr) if cr and status.is_available(cr) else None
        if cr is None or address is None:
            return None
        version = cr.status.version if cr.status else None
        server = (address, version, self._mlflow.endpoint_versions)
        if server == self._asked:
            return None
        found, why = await _ask(self._client, address)
        if found:
            self._asked = server
            self._unclear.ends(None)
            self._traces.set(TracesURL(address, found))
            return None
        known = self._traces.value
        if known is None or known.address != address:
            self._traces.set(TracesURL(address, otlp_path.guess(address, version)))
        if self._unclear.holds(None, f"{address} {why}"):
            log.warning("MLflow does not show under which path it takes spans", address=address, answers=why)
        return AGAIN_SECONDS


async def _ask(client: MLflowClient, address: str) -> tuple[str | None, str]:
    """The candidate that is right, else what the candidates answered."""
    answers: list[str] = []
    for candidate in otlp_path.list_candidates(address):
        try:
            answer = await client.ask_for_otlp(candidate)
        except MLflowError as error:
            return None, str(error)
        match otlp_path.judge(answer):
            case True:
                return candidate, ""
            case False:
                answers.append(f"{candidate} {answer}")
            case None:
                return None, f"{candidate} {answer}"
    return None, ", ".join(answers)
