"""What a ServiceAccount token says of itself; nothing is verified, that is the API server's business."""

import base64
import binascii

import msgspec


class _Kubernetes(msgspec.Struct, frozen=True):
    pod: dict[str, str] | None = None


class _Claims(msgspec.Struct, frozen=True):
    iat: float
    exp: float
    kubernetes: _Kubernetes = msgspec.field(name="kubernetes.io", default=_Kubernetes())


def read_token_seconds(token: str) -> float | None:
    """The lifetime of a token; None where it says nothing of that.

    API servers may give tokens for longer or shorter than was asked for, so only a token says it.
    """
    claims = _read(token)
    return claims.exp - claims.iat if claims else None


def read_pod_token_seconds(token: str) -> float | None:
    """The lifetime of a token that a kubelet brought into a pod; None for any other token."""
    claims = _read(token)
    return claims.exp - claims.iat if claims and claims.kubernetes.pod is not None else None


def _read(token: str) -> _Claims | None:
    try:
        payload = token.split(".")[1]
        decoded = base64.urlsafe_b64decode(payload + "=" * (-len(payload) % 4))
        return msgspec.json.decode(decoded, type=_Claims)
    except (IndexError, binascii.Error, msgspec.DecodeError):
        return None
