"""Pure: to which addresses the administrator's password may be sent."""

import ipaddress
from urllib.parse import urlsplit

from kagenti_operator.http.service import service_of


def check_address(url: str) -> str:
    """The address without a trailing slash. Raises ValueError, which says what is wrong with it.

    Plain HTTP is for Services of the cluster and this machine only: elsewhere anybody on the way would read
    the password.
    """
    try:
        parts = urlsplit(url)
        valid = parts.scheme in {"http", "https"} and parts.hostname and parts.port != 0
    except ValueError:
        valid, parts = False, urlsplit("")
    if not valid:
        raise ValueError(f"{url!r} is no http or https URL")
    if parts.username is not None or parts.query or parts.fragment:
        raise ValueError(f"{url!r} has more in it than host, port and path")
    if parts.scheme == "http" and service_of(url) is None and not _is_this_machine(parts.hostname or ""):
        raise ValueError(
            f"{url!r} is http and no Service of the cluster: the administrator's password would be sent in "
            "the clear, so https is needed"
        )
    return url.rstrip("/")


def is_same_address(one: str, other: str) -> bool:
    """Whether two addresses are one: a slash at the end and the case of the host do not count."""
    return _normal(one) == _normal(other)


def _normal(url: str) -> tuple[str, str, int | None, str] | str:
    try:
        parts = urlsplit(url)
        return parts.scheme, parts.hostname or "", parts.port, parts.path.rstrip("/")
    except ValueError:
        return url


def _is_this_machine(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
