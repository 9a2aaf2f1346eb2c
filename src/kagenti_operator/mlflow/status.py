"""What an MLflow custom resource's status says: whether MLflow is there, and under which addresses.

`status.address.url` is MLflow inside the cluster, `status.url` its gateway, which may stay unset for ever.
A value that is no usable URL counts as unset, and `malformed_urls` tells of it.
"""

import re
from datetime import datetime
from urllib.parse import SplitResult, urlsplit

from kagenti_operator.contract import OTLP_TRACES_PATH
from kagenti_operator.kube.objects.models import Condition, MLflow
from kagenti_operator.plain_text import excerpt

# With another host, or an escape that is none, the collector would not start.
_URL = re.compile(r"(?:[!-$&-~]|%[0-9A-Fa-f]{2})+")
_HOST = re.compile(r"(?:[A-Za-z0-9](?:[-A-Za-z0-9._]*[A-Za-z0-9.])?|\[[0-9A-Fa-f:.]+\])(?::[0-9]+)?")
_MAX_SHOWN = 200


def is_available(mlflow: MLflow) -> bool:
    """Whether condition `Available` is True."""
    return _available(mlflow) is not None


def available_since(mlflow: MLflow) -> datetime | None:
    """Since when condition `Available` is True, None where the status does not tell."""
    condition = _available(mlflow)
    try:
        since = datetime.fromisoformat(condition.last_transition_time or "") if condition else None
    except ValueError:
        return None
    # Without a zone it cannot be compared with the clock.
    return since if since and since.tzinfo else None


def _available(mlflow: MLflow) -> Condition | None:
    conditions = (mlflow.status.conditions if mlflow.status else None) or ()
    return next((c for c in conditions if c.type == "Available" and c.status == "True"), None)


def gateway_traces_url(mlflow: MLflow) -> str | None:
    """The URL of OTLP ingestion through the gateway, which routes by path; None while there is none."""
    gateway = _parse(_gateway_url(mlflow))
    return f"{_without_trailing_slash(gateway)}{OTLP_TRACES_PATH}" if gateway else None


def address(mlflow: MLflow) -> str | None:
    """The URL inside the cluster, as the status has it."""
    return _usable(_address_url(mlflow))


def gateway(mlflow: MLflow) -> str | None:
    """The URL of the gateway, as the status has it."""
    return _usable(_gateway_url(mlflow))


def rest_url(mlflow: MLflow) -> str | None:
    """The base of the REST API for the operator itself: the address, else the gateway; no trailing slash."""
    base = _parse(_address_url(mlflow)) or _parse(_gateway_url(mlflow))
    return _without_trailing_slash(base) if base else None


def dashboard_url(mlflow: MLflow) -> str | None:
    """The URL for people, with a trailing slash: only the gateway can be opened from outside."""
    gateway = _parse(_gateway_url(mlflow))
    return f"{_without_trailing_slash(gateway)}/" if gateway else None


def malformed_urls(mlflow: MLflow) -> tuple[str, ...]:
    """One sentence for each address in the status that cannot be used."""
    found = {"status.address.url": _address_url(mlflow), "status.url": _gateway_url(mlflow)}
    return tuple(
        f"{field} of MLflow {mlflow.metadata.name} {_complain(url)}"
        for field, url in found.items()
        if url and not _parse(url)
    )


def _complain(url: str) -> str:
    if "@" in url.partition("//")[2].partition("/")[0]:
        return (
            "carries credentials, which would be copied into ConfigMaps and environments that many can read, "
            "so it is neither used nor shown: whoever writes that status must take them out"
        )
    # What is no URL may hold a password all the same: "user:secret@host".
    shown = (
        "not shown here, because it may hold a password, and"
        if "@" in url
        else f"{excerpt(repr(url), _MAX_SHOWN)}, which"
    )
    return f"is {shown} is no http or https URL: whoever writes that status must correct it"


def _address_url(mlflow: MLflow) -> str | None:
    return mlflow.status.address.url if mlflow.status and mlflow.status.address else None


def _gateway_url(mlflow: MLflow) -> str | None:
    return mlflow.status.url if mlflow.status else None


def _usable(url: str | None) -> str | None:
    return url if _parse(url) else None


def _parse(url: str | None) -> SplitResult | None:
    if not url or not _URL.fullmatch(url):
        return None
    try:
        parts = urlsplit(url)
        usable = parts.scheme in {"http", "https"} and parts.hostname and parts.port != 0
    except ValueError:
        return None
    # A password in an address would be copied into a ConfigMap that many can read.
    return parts if usable and _HOST.fullmatch(parts.netloc) else None


def _without_trailing_slash(url: SplitResult) -> str:
    return f"{url.scheme}://{url.netloc}{url.path.rstrip('/')}"
