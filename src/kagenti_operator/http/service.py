"""Pure: which Service of the cluster an address names."""

import re
from dataclasses import dataclass
from functools import lru_cache
from urllib.parse import urlsplit

# A pod of a headless Service has a name of its own before the Service's.
_HOST = re.compile(r"(?:[a-z0-9-]+\.)?([a-z0-9-]+)\.([a-z0-9-]+)\.svc(?:\.cluster\.local)?\.?")


@dataclass(frozen=True)
class Service:
    """A Service by its namespace and name."""

    namespace: str
    name: str

    def __str__(self) -> str:
        return f"'{self.name}' of namespace '{self.namespace}'"


# An address is that of a whole fleet.
@lru_cache
def service_of(url: str) -> Service | None:
    """The Service in the host of a URL; None where the host is no name of a Service, or of its pod."""
    match = _HOST.fullmatch(urlsplit(url).hostname or "")
    return Service(namespace=match[2], name=match[1]) if match else None


@lru_cache
def needs_service_ca(url: str) -> bool:
    """Whether, on OpenShift, the service CA signed what answers there."""
    return urlsplit(url).scheme == "https" and service_of(url) is not None
