"""Under which address agents reach MLflow: another one rolls them all, so it has to last before it counts."""

from dataclasses import dataclass, replace
from functools import lru_cache
from urllib.parse import urlsplit

from kagenti_operator import clock
from kagenti_operator.contract import AgentsAddress
from kagenti_operator.controllers.agents.addresses import (
    Choice,
    GatewayTrust,
    choose_address,
    report_no_address,
)
from kagenti_operator.controllers.dependencies import Dependencies
from kagenti_operator.controllers.mlflow.facts import MLflowFacts
from kagenti_operator.controllers.singleton import build_singleton
from kagenti_operator.http.service import needs_service_ca, service_of
from kagenti_operator.kube.objects.models import MLflow
from kagenti_operator.kube.resources import MLFLOWS
from kagenti_operator.mlflow import status
from kagenti_operator.runtime.control.controller import Controller
from kagenti_operator.runtime.observable import Observable
from kagenti_operator.runtime.telemetry.events import ObjectRef
from kagenti_operator.runtime.telemetry.reporter import Reporter

NAME = "tracking-endpoint"
# Agents get another tracking URI when it has been the same for so long.
SETTLE_SECONDS = 30.0
# On installation the address comes first and the gateway a little later, or never: so long after MLflow
# became available the address is taken for all that will come.
GATEWAY_SECONDS = 10.0
# A gateway that only left the status, while the address is the same: a gap, until it has lasted so long.
GATEWAY_GONE_SECONDS = 600.0


@dataclass(frozen=True)
class Endpoint:
    """Where MLflow is, for agents and for the operator.

    `service_ca`: agents need OpenShift's service CA there. `uid`: of MLflow's CR. `keeps_gateway`: an agent
    that has a gateway's address keeps it, since the gateway may only be away for a while.
    """

    tracking_uri: str
    rest_url: str
    service_ca: bool = False
    uid: str = ""
    keeps_gateway: bool = False

    def keeping(self, tracking_uri: str | None) -> "Endpoint":
        """What an agent with that tracking URI is to use."""
        if not (self.keeps_gateway and tracking_uri and _is_web(tracking_uri)) or service_of(tracking_uri):
            return self
        return replace(self, tracking_uri=tracking_uri, service_ca=False)


# An address is that of a whole fleet.
@lru_cache
def _is_web(url: str) -> bool:
    """Whether what a workload says is an address at all: its author may have written anything."""
    try:
        parts = urlsplit(url)
        return parts.scheme in ("http", "https") and bool(parts.hostname)
    except ValueError:
        return False


@dataclass(frozen=True, kw_only=True)
class _Accepted:
    """What agents have, and beside which address the CR had it last."""

    tracking_uri: str
    rest_url: str


def setup(
    dependencies: Dependencies,
    mlflow: MLflowFacts,
    is_openshift: Observable[bool | None],
    trust: Observable[GatewayTrust | None],
    endpoint: Observable[Endpoint | None],
) -> Controller[str]:
    """Watch the MLflow CR; what to use goes into `endpoint`, None while MLflow is not available."""
    mode = dependencies.settings.agents_mlflow_address
    tracking = TrackingEndpoint(mode, endpoint, is_openshift, trust)
    reporter = Reporter[str](dependencies.events, __name__)

    async def reconcile() -> float | None:
        cr = mlflow.cr
        if cr is None:
            reporter.forget(NAME)
        elif status.is_available(cr):
            missing = report_no_address(mode, status.gateway(cr), status.address(cr))
            reporter.report(NAME, ObjectRef.of(MLFLOWS, cr), missing)
        return tracking.observe(cr)

    return build_singleton(dependencies, NAME, reconcile, mlflow.mlflows, follows=(is_openshift, trust))


class TrackingEndpoint:
    """Follows MLflow's CR."""

    def __init__(
        self,
        mode: AgentsAddress,
        endpoint: Observable[Endpoint | None],
        is_openshift: Observable[bool | None],
        trust: Observable[GatewayTrust | None],
    ) -> None:
        self._mode: AgentsAddress = mode
        self._endpoint = endpoint
        self._is_openshift = is_openshift
        self._trust = trust
        # Of the CR that is followed; since when it has been of use; whether its gateway was accepted since.
        self._uid = ""
        self._since: float | None = None
        self._knows_gateway = False
        self._accepted: _Accepted | None = None
        # A tracking URI that agents do not get yet, and since when it is there.
        self._candidate: tuple[str | None, float] | None = None

    def observe(self, cr: MLflow | None) -> float | None:
        """Take note of the CR; return after how many seconds to do so again even if it does not change."""
        if cr is None or self._uid != cr.metadata.uid:
            self._uid = cr.metadata.uid if cr else ""
            self._since = self._accepted = self._candidate = None
            self._knows_gateway = False
        rest_url = status.rest_url(cr) if cr and status.is_available(cr) else None
        if cr is None or rest_url is None:
            self._endpoint.set(None)
            return None
        now = clock.monotonic()
        self._since = self._since if self._since is not None else now
        # An operator that was just started does not know what was there before.
        unknowing = 0.0 if self._knows_gateway else self._since + GATEWAY_GONE_SECONDS - now
        choice = choose_address(self._mode, status.gateway(cr), status.address(cr), self._trust.value)
        if choice.pending:
            wait = None
        elif choice.stopgap and self._accepted is None and unknowing > 0:
            wait = unknowing
        else:
            wait = self._settle(cr, choice, rest_url)
        # Of the MLflow that agents use: another one would give ids that mean something else there, or
        # nothing.
        accepted = self._accepted
        coming = accepted is not None and choice.uri not in (None, accepted.tracking_uri)
        keeps = coming or choice.pending or (not choice.sure and unknowing > 0)
        self._endpoint.set(self._build(accepted, keeps_gateway=keeps) if accepted else None)
        waits = [w for w in (wait, unknowing if not choice.sure else None) if w is not None and w > 0]
        return min(waits, default=None)

    def _build(self, accepted: _Accepted, *, keeps_gateway: bool) -> Endpoint | None:
        service_ca = False
        if needs_service_ca(accepted.tracking_uri):
            if self._is_openshift.value is None:
                # Not known yet: agents would be rolled a second time for the CA.
                return None
            service_ca = self._is_openshift.value
        return Endpoint(accepted.tracking_uri, accepted.rest_url, service_ca, self._uid, keeps_gateway)

    def _settle(self, cr: MLflow, choice: Choice, rest_url: str) -> float | None:
        accepted, tracking_uri = self._accepted, choice.uri
        has_gateway = status.gateway(cr) is not None
        if accepted and accepted.tracking_uri == tracking_uri:
            self._accepted = replace(accepted, rest_url=rest_url)
            wait = None
        elif accepted and (choice.stopgap or (not has_gateway and accepted.rest_url == rest_url)):
            wait = self._lasts(tracking_uri, GATEWAY_GONE_SECONDS)
        elif accepted:
            wait = self._lasts(tracking_uri, SETTLE_SECONDS)
        elif has_gateway or self._mode != "auto":
            wait = 0.0
        else:
            left = self._lasts(tracking_uri, GATEWAY_SECONDS)
            wait = min(left, GATEWAY_SECONDS - self._available_seconds(cr))
        if wait is None:
            self._candidate = None
            return None
        if wait > 0:
            return wait
        self._candidate = None
        self._knows_gateway = self._knows_gateway or (has_gateway and tracking_uri == status.gateway(cr))
        self._accepted = _Accepted(tracking_uri=tracking_uri, rest_url=rest_url) if tracking_uri else None
        return None

    def _lasts(self, tracking_uri: str | None, seconds: float) -> float:
        """How many of those seconds are left for that tracking URI to last."""
        now = clock.monotonic()
        if self._candidate is None or self._candidate[0] != tracking_uri:
            self._candidate = (tracking_uri, now)
        return self._candidate[1] + seconds - now

    def _available_seconds(self, cr: MLflow) -> float:
        since = status.available_since(cr)
        return (clock.now() - since).total_seconds() if since else 0.0
