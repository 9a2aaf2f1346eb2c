"""The token with which the operator authenticates to MLflow, of an account that may use experiments only.

MLflow can keep what it is sent, and the operator's own token is nearly a cluster administrator's.
"""

import asyncio
import random

import msgspec

from kagenti_operator import clock, contract
from kagenti_operator.backoff import jittered
from kagenti_operator.controllers.settings import Settings
from kagenti_operator.kube.auth.rotation import TokenSource
from kagenti_operator.kube.auth.token_claims import read_token_seconds
from kagenti_operator.kube.client import KubeClient
from kagenti_operator.kube.errors import ApiError, KubeError
from kagenti_operator.kube.resources import SERVICE_ACCOUNTS
from kagenti_operator.runtime.telemetry.event_series import ObjectRef
from kagenti_operator.runtime.telemetry.events import EventRecorder
from kagenti_operator.runtime.telemetry.reporter import Report, Reporter

LIFETIME_SECONDS = 3600
# Renewed when that part of its lifetime is over; the rest is for an API server that does not answer.
RENEWED_AFTER = 0.8
# After a refusal, or a failure while the token that is there still serves.
AGAIN_SECONDS = 60.0
# A token that MLflow does not take is replaced, but not each time that it says so.
YOUNG_SECONDS = 60.0


class _Status(msgspec.Struct, frozen=True):
    token: str


class _TokenRequest(msgspec.Struct, frozen=True):
    status: _Status


class ClientToken:
    """Requests a token of ServiceAccount `kagenti-mlflow-client` when one is needed, and renews it in time.

    Where that is not permitted, or there is no such account, the operator's own token serves, and an Event on
    the ServiceAccount says so.
    """

    def __init__(
        self,
        client: KubeClient,
        settings: Settings,
        own: TokenSource,
        events: EventRecorder,
        rng: random.Random,
    ) -> None:
        self._client = client
        self._namespace, self._name = settings.own_namespace, settings.names.mlflow_client
        self._own = own
        self._rng = rng
        self._reporter = Reporter[str](events, __name__)
        self._lock = asyncio.Lock()
        self._token: str | None = None
        # By the loop's time: requested when, usable until, to be requested again when.
        self._since = self._until = self._due = 0.0

    def current(self) -> str | None:
        """Return the requested token, else the operator's own."""
        return self._token or self._own.current()

    async def prepare(self) -> None:
        """Request a token where there is none, or it is time to. Raises KubeError where none is usable."""
        async with self._lock:
            if clock.monotonic() >= self._due:
                await self._renew()
        if self._token is None:
            await self._own.prepare()

    def reject(self) -> None:
        """MLflow does not take it: its ServiceAccount may have been recreated."""
        if self._token and clock.monotonic() >= self._since + YOUNG_SECONDS:
            self._until = self._due = 0.0

    async def _renew(self) -> None:
        try:
            token = await self._request()
        except KubeError as error:
            refused = isinstance(error, ApiError) and (error.forbidden or error.not_found)
            if clock.monotonic() >= self._until:
                self._token = None
                if not refused:
                    raise
                self._report(report_refused(self._namespace, self._name, error))
            self._due = clock.monotonic() + jittered(AGAIN_SECONDS, 0.1, self._rng)
            return
        self._report()
        lifetime = read_token_seconds(token) or float(LIFETIME_SECONDS)
        self._token, self._since = token, clock.monotonic()
        self._until = self._since + lifetime
        self._due = self._since + jittered(RENEWED_AFTER * lifetime, 0.1, self._rng)

    async def _request(self) -> str:
        path = SERVICE_ACCOUNTS.path(self._namespace, self._name, "token")
        body = {
            "apiVersion": "authentication.k8s.io/v1",
            "kind": "TokenRequest",
            "spec": {"expirationSeconds": LIFETIME_SECONDS},
        }
        return (await self._client.ask("POST", path, _TokenRequest, body=body)).status.token

    def _report(self, *reports: Report) -> None:
        about = ObjectRef(
            api_version=SERVICE_ACCOUNTS.api_version,
            kind=SERVICE_ACCOUNTS.kind,
            name=self._name,
            namespace=self._namespace,
        )
        self._reporter.report("token", about, reports)


def report_refused(namespace: str, name: str, error: KubeError) -> Report:
    """Report that the operator authenticates to MLflow with its own token."""
    return Report(
        reason="MLflowTokenNotRequested",
        message=f"No token of ServiceAccount '{name}' in namespace '{namespace}' can be requested, so the "
        "operator sends MLflow its own, which may do far more, and MLflow can keep it. Create that account, "
        f"bind it to ClusterRole {contract.INTEGRATION_ROLE}, and let the operator create "
        f"serviceaccounts/token of that name, as the chart does with rbac.enable=true. {error}",
        log=True,
        over=f"The operator authenticates to MLflow as ServiceAccount '{name}'",
    )
