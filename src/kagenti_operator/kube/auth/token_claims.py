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


def read_pod_token_seconds(token: str) -> float | None:
    """The lifetime of a token that a kubelet brought into a pod; None for any other token.

    API servers may give tokens for longer than the kubelet asks for, so only a token says it.
    """
    try:
        payload = token.split(".")[1]
        decoded = base64.urlsafe_b64decode(payload + "=" * (-len(payload) % 4))
        claims = msgspec.json.decode(decoded, type=_Claims)
    except (IndexError, binascii.Error, msgspec.DecodeError):
        return None
    return claims.exp - claims.iat if claims.kubernetes.pod is not None else None
