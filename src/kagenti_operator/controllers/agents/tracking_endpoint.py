"""Under which address agents reach MLflow: another one rolls them all, so it has to last before it counts."""

from dataclasses import dataclass, replace

from kagenti_operator import clock
from kagenti_operator.controllers.dependencies import Dependencies
from kagenti_operator.controllers.mlflow.facts import MLflowFacts
from kagenti_operator.controllers.singleton import build_singleton
from kagenti_operator.kube.objects.models import MLflow
from kagenti_operator.mlflow import status
from kagenti_operator.mlflow.service import needs_service_ca
from kagenti_operator.runtime.control.controller import Controller
from kagenti_operator.runtime.observable import Observable

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

    `service_ca`: agents need OpenShift's service CA there. `uid`: of MLflow's CR.
    """

    tracking_uri: str
    rest_url: str
    service_ca: bool = False
    uid: str = ""


@dataclass(frozen=True, kw_only=True)
class _Accepted:
    """What agents have, and beside which address the CR had it last."""

    uid: str
    tracking_uri: str
    rest_url: str


def setup(
    dependencies: Dependencies,
    mlflow: MLflowFacts,
    is_openshift: Observable[bool | None],
    endpoint: Observable[Endpoint | None],
) -> Controller[str]:
    """Watch the MLflow CR; what to use goes into `endpoint`, None while MLflow is not available."""
    tracking = TrackingEndpoint(endpoint, is_openshift)

    async def reconcile() -> float | None:
        return tracking.observe(mlflow.cr)

    return build_singleton(
        dependencies, "tracking-endpoint", reconcile, mlflow.mlflows, follows=(is_openshift,)
    )


class TrackingEndpoint:
    """Follows MLflow's CR."""

    def __init__(self, endpoint: Observable[Endpoint | None], is_openshift: Observable[bool | None]) -> None:
        self._endpoint = endpoint
        self._is_openshift = is_openshift
        self._accepted: _Accepted | None = None
        # A tracking URI that agents do not get yet, and since when it is there.
        self._candidate: tuple[str, float] | None = None

    def observe(self, cr: MLflow | None) -> float | None:
        """Take note of the CR; return after how many seconds to do so again even if it does not change."""
        if cr is None or (self._accepted and self._accepted.uid != cr.metadata.uid):
            self._accepted = self._candidate = None
        tracking_uri, rest_url = (status.tracking_uri(cr), status.rest_url(cr)) if cr else (None, None)
        if cr is None or not status.is_available(cr) or not tracking_uri or not rest_url:
            self._endpoint.set(None)
            return None
        wait = self._settle(cr, tracking_uri, rest_url)
        accepted = self._accepted
        # Of the MLflow that agents use: another one would give ids that mean something else there, or
        # nothing.
        self._endpoint.set(self._build(accepted) if accepted else None)
        return wait

    def _build(self, accepted: _Accepted) -> Endpoint | None:
        service_ca = False
        if needs_service_ca(accepted.tracking_uri):
            if self._is_openshift.value is None:
                # Not known yet: agents would be rolled a second time for the CA.
                return None
            service_ca = self._is_openshift.value
        return Endpoint(accepted.tracking_uri, accepted.rest_url, service_ca, accepted.uid)

    def _settle(self, cr: MLflow, tracking_uri: str, rest_url: str) -> float | None:
        accepted = self._accepted
        has_gateway = status.dashboard_url(cr) is not None
        if accepted and accepted.tracking_uri == tracking_uri:
            self._accepted = replace(accepted, rest_url=rest_url)
            wait = None
        elif accepted and not has_gateway and accepted.rest_url == rest_url:
            wait = self._lasts(tracking_uri, GATEWAY_GONE_SECONDS)
        elif accepted:
            wait = self._lasts(tracking_uri, SETTLE_SECONDS)
        elif has_gateway:
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
        self._accepted = _Accepted(uid=cr.metadata.uid, tracking_uri=tracking_uri, rest_url=rest_url)
        return None

    def _lasts(self, tracking_uri: str, seconds: float) -> float:
        """How many of those seconds are left for that tracking URI to last."""
        now = clock.monotonic()
        if self._candidate is None or self._candidate[0] != tracking_uri:
            self._candidate = (tracking_uri, now)
        return self._candidate[1] + seconds - now

    def _available_seconds(self, cr: MLflow) -> float:
        since = status.available_since(cr)
        return (clock.now() - since).total_seconds() if since else 0.0
