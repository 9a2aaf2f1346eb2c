"""What the process that makes the webhook's certificate is asked, and what it answers."""

import msgspec


class Request(msgspec.Struct, frozen=True, kw_only=True):
    """What there is, PEM, each empty where there is none; `names` are the server's in DNS, the first its own.

    `trusted`: a bundle that is in use; it counts where `bundle` has no authority that can sign.
    """

    names: tuple[str, ...]
    bundle: bytes = b""
    ca_key: bytes = b""
    certificate: bytes = b""
    key: bytes = b""
    trusted: bytes = b""


class Credentials(msgspec.Struct, frozen=True, kw_only=True):
    """What there should be, PEM; `renewed`: what was made anew; `renew_seconds`: until when it will do."""

    bundle: bytes
    ca_key: bytes
    certificate: bytes
    key: bytes
    renewed: tuple[str, ...] = ()
    renew_seconds: float
