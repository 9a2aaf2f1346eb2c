"""Tries whether pods trust the certificate of MLflow's gateway by themselves: by the system's CAs only."""

import asyncio
import ssl
from collections.abc import Callable, Iterable
from urllib.parse import urlsplit

from kagenti_operator import clock
from kagenti_operator.backoff import Backoff, jittered
from kagenti_operator.controllers.agents.addresses import GatewayTrust
from kagenti_operator.controllers.dependencies import Dependencies
from kagenti_operator.controllers.mlflow.facts import MLflowFacts
from kagenti_operator.controllers.singleton import build_singleton
from kagenti_operator.kube.resources import MLFLOWS
from kagenti_operator.mlflow import status
from kagenti_operator.runtime.control.controller import Controller
from kagenti_operator.runtime.observable import Observable
from kagenti_operator.runtime.telemetry.events import ObjectRef
from kagenti_operator.runtime.telemetry.reporter import Report, Reporter

TRY_SECONDS = 10.0
# A gateway that does not answer the operator may come up, or never be reachable from its pod.
UNANSWERED = Backoff(first=15.0, longest=600.0, jitter=0.2)
# Certificates are replaced.
AGAIN_SECONDS = 3600.0


def setup(
    dependencies: Dependencies, mlflow: MLflowFacts, trust: Observable[GatewayTrust | None]
) -> Controller[str]:
    """Watch the MLflow CR; what is found goes into `trust`."""
    reconciler = GatewayTrustReconciler(dependencies, mlflow, trust)
    return build_singleton(dependencies, "gateway-trust", reconciler.reconcile, mlflow.mlflows)


async def try_certificate(
    url: str, build_context: Callable[[], ssl.SSLContext] = ssl.create_default_context
) -> tuple[bool | None, str]:
    """Whether the certificate there is good, and what is wrong; None where none was shown in time."""
    try:
        parts = urlsplit(url)
        async with asyncio.timeout(TRY_SECONDS):
            _, writer = await asyncio.open_connection(
                parts.hostname, parts.port or 443, ssl=build_context(), server_hostname=parts.hostname
            )
    except ssl.SSLCertVerificationError as error:
        return False, error.verify_message
    except TimeoutError:
        return None, f"no answer within {TRY_SECONDS:g} s"
    except (OSError, ValueError) as error:
        # The latter for what is no host: somebody may have written anything into the status.
        return None, getattr(error, "strerror", None) or str(error)
    writer.transport.abort()
    return True, ""


def report_untrusted(url: str, why: str, *, answered: bool) -> Iterable[Report]:
    """Report why agents are not given the gateway's address."""
    problem = "is not trusted by the system's CAs" if answered else "could not be tried"
    yield Report(
        reason="GatewayNotTrusted",
        type="Normal",
        message=f"The certificate of {url}, MLflow's status.url, {problem} ({why}): agents are given "
        "status.address.url. Where their images bring the CA, set --agents-mlflow-address=gateway (chart: "
        "mlflow.agentsAddress).",
        log=True,
    )


class GatewayTrustReconciler:
    """Tries each gateway once, and then rarely; what was found stays while it does not answer."""

    def __init__(
        self,
        dependencies: Dependencies,
        mlflow: MLflowFacts,
        trust: Observable[GatewayTrust | None],
        build_context: Callable[[], ssl.SSLContext] = ssl.create_default_context,
    ) -> None:
        self._rng = dependencies.rng
        self._mlflow = mlflow
        self._trust = trust
        self._build_context = build_context
        self._reporter = Reporter[str](dependencies.events, __name__)
        self._failures = 0
        # By the loop's time.
        self._due = 0.0

    async def reconcile(self) -> float | None:
        """Try the gateway where it is another one, or time to."""
        cr = self._mlflow.cr
        url = status.gateway(cr) if cr and status.is_available(cr) else None
        if cr is None or url is None or not url.startswith("https:"):
            self._reporter.forget("gateway")
            return None
        known = self._trust.value if self._trust.value and self._trust.value.url == url else None
        if known is None:
            self._failures = 0
        elif (left := self._due - clock.monotonic()) > 0:
            return left
        trusted, why = await try_certificate(url, self._build_context)
        self._failures = self._failures + 1 if trusted is None else 0
        if trusted is None:
            wait = UNANSWERED.delay(self._failures, self._rng)
        else:
            wait = jittered(AGAIN_SECONDS, 0.2, self._rng)
        self._due = clock.monotonic() + wait
        if trusted is None and known and known.trusted is not None:
            return wait
        reports = () if trusted else report_untrusted(url, why, answered=trusted is not None)
        self._reporter.report("gateway", ObjectRef.of(MLFLOWS, cr), reports)
        self._trust.set(GatewayTrust(url, trusted))
        return wait
