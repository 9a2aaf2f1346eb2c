"""Tokens of a pod's ServiceAccount, by TokenRequest, bound to the pod as the kubelet's are."""

import json
from dataclasses import dataclass
from datetime import datetime

import msgspec

from kagenti_operator.kube.client import KubeClient
from kagenti_operator.kube.models import KubeStruct
from kagenti_operator.sandbox.node.models import Pod, TokenSource

# The kubelet renews at 80 % of a token's life, or after a day.
_RENEW_AT = 0.8
_MAX_SECONDS = 24 * 3600.0


class _Status(KubeStruct, frozen=True):
    token: str
    expiration_timestamp: datetime


class _TokenRequest(KubeStruct, frozen=True):
    status: _Status


@dataclass(frozen=True, slots=True)
class Token:
    """A bearer token, and in how many seconds it is to be replaced."""

    value: str
    renew_after: float


def renew_after(lifetime: float) -> float:
    """After how many seconds a token of that lifetime is replaced. Pure."""
    return min(lifetime * _RENEW_AT, _MAX_SECONDS)


async def request_token(client: KubeClient, pod: Pod, source: TokenSource, now: datetime) -> Token:
    """Ask the API server for a token. Raises KubeError."""
    metadata = pod.metadata
    spec = {
        "expirationSeconds": source.expiration_seconds,
        "audiences": [source.audience] if source.audience else [],
        "boundObjectRef": {"apiVersion": "v1", "kind": "Pod", "name": metadata.name, "uid": metadata.uid},
    }
    account = pod.spec.service_account_name
    answer = await client.raw(
        "POST",
        f"/api/v1/namespaces/{metadata.namespace}/serviceaccounts/{account}/token",
        body=json.dumps(
            {"apiVersion": "authentication.k8s.io/v1", "kind": "TokenRequest", "spec": spec}
        ).encode(),
    )
    status = msgspec.json.decode(answer, type=_TokenRequest).status
    return Token(status.token, renew_after((status.expiration_timestamp - now).total_seconds()))
