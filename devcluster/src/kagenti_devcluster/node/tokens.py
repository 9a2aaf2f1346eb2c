"""Tokens of a pod's ServiceAccount, by TokenRequest, bound to the pod as the kubelet's are.

Ten minutes is the shortest life that the API server gives, too long to watch a token expire. Annotation
`devcluster.kagenti.io/token-seconds` on a ServiceAccount makes its tokens shorter: the node signs them anew
with the cluster's key, and so they expire for everybody who has them checked.
"""

import json
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

import jwt
import msgspec

from kagenti_devcluster.node.models import Pod, TokenSource
from kagenti_devcluster.standins.resources import SERVICE_ACCOUNTS
from kagenti_operator.kube.client import KubeClient
from kagenti_operator.kube.objects.models import KubeStruct

SECONDS_ANNOTATION = "devcluster.kagenti.io/token-seconds"
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


async def request_token(
    client: KubeClient, pod: Pod, source: TokenSource, now: datetime, signing_key: Path
) -> Token:
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
    found = await client.get(SERVICE_ACCOUNTS, account, metadata.namespace)
    shorter = found.metadata.annotations.get(SECONDS_ANNOTATION, "") if found else ""
    if shorter.isdecimal():
        token = shorten(status.token, int(shorter), signing_key)
        return Token(token, renew_after(int(shorter)))
    return Token(status.token, renew_after((status.expiration_timestamp - now).total_seconds()))


def shorten(token: str, seconds: int, signing_key: Path) -> str:
    """The same token, but it expires that many seconds after it was issued; the key's file is PEM."""
    parts = jwt.decode_complete(token, options={"verify_signature": False})
    claims = {**parts["payload"], "exp": parts["payload"]["iat"] + seconds}
    return jwt.encode(claims, signing_key.read_bytes(), algorithm="ES256", headers=parts["header"])
