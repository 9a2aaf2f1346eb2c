"""Looks up the names of Services as they stand, and not with whatever a pod's search list appends.

`mlflow.opendatahub.svc` is looked up as `mlflow.opendatahub.svc.svc.cluster.local` before it is what it says:
pod `mlflow` of a headless Service `opendatahub` in a namespace `svc` would be asked.
"""

import re
import socket
from functools import cache
from pathlib import Path

from aiohttp.abc import ResolveResult
from aiohttp.resolver import ThreadedResolver

from kagenti_operator.http.service import service_of

_RESOLV_CONF = Path("/etc/resolv.conf")
# The kubelet's list: NAMESPACE.svc.DOMAIN svc.DOMAIN DOMAIN, and the node's.
_SEARCH = re.compile(r"^\s*search\b.*?\ssvc\.(\S+?)\.?(?:\s|$)", re.MULTILINE)


@cache
def cluster_domain(file: Path = _RESOLV_CONF) -> str | None:
    """The domain of the cluster's names, None where the resolver knows none, as outside of a cluster."""
    try:
        found = _SEARCH.findall(file.read_text(errors="replace"))
    except OSError:
        return None
    # Of several lines the last counts.
    return found[-1] if found else None


def absolute_name(host: str, domain: str | None) -> str:
    """The whole name of a Service's host, with its final dot; any other host as it is."""
    if domain is None or host.endswith(".") or service_of(f"//{host}") is None:
        return host
    return f"{host}." if host.endswith(f".svc.{domain}") else f"{host}.{domain}."


class ServiceResolver(ThreadedResolver):
    """Only the name that is looked up is the whole one: TLS and header `Host` have the URL's."""

    def __init__(self, domain: str | None = None) -> None:
        super().__init__()
        self._domain = domain or cluster_domain()

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_INET
    ) -> list[ResolveResult]:
        """Return the addresses, as aiohttp asks for them."""
        found = await super().resolve(absolute_name(host, self._domain), port, family)
        return [{**address, "hostname": host} for address in found]
