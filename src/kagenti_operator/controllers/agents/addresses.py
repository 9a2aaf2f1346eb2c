"""Pure: what an address says of where MLflow is."""

from urllib.parse import urlsplit

_SERVICE_SUFFIXES = (".svc", ".svc.cluster.local")


def is_service(url: str) -> bool:
    """Whether the host is a Service of the cluster, and not a gateway's."""
    return (urlsplit(url).hostname or "").endswith(_SERVICE_SUFFIXES)


def needs_service_ca(url: str) -> bool:
    """Whether, on OpenShift, the service CA signed what answers there."""
    return urlsplit(url).scheme == "https" and is_service(url)
