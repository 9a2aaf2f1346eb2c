"""What the operator asked of the API server, read from audit logs and kept from one test run to the check.

A record is a file of requests without repetitions, one per control plane that the operator worked on.
"""

import json
import uuid
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, Protocol

import msgspec

from kagenti_operator.contract import CONTROLLER_MANAGER, KAGENTI, ROSSOCTL, Names


def operator_of(names: Names) -> str:
    """The operator's user where its chart is installed in the platform's namespace."""
    return f"system:serviceaccount:{names.namespace}:{CONTROLLER_MANAGER}"


OPERATOR = operator_of(KAGENTI)


class Request(msgspec.Struct, frozen=True, order=True, omit_defaults=True):
    """One request as RBAC judges it; `resource` may be `resource/subresource`.

    A namespace is empty for a request across all of them, a name where the request has none. `refusal` is
    the API server's answer where a permission was missing.
    """

    verb: str
    group: str = ""
    resource: str = ""
    namespace: str = ""
    name: str = ""
    refusal: str = ""

    def __str__(self) -> str:
        what = f"{self.resource}.{self.group}" if self.group else self.resource
        reported = f": {self.refusal}" if self.refusal else ""
        return f"{self.verb} {what} {self.name or '*'} in {self.namespace or 'all namespaces'}{reported}"


def read_audit_log(path: Path, user: str = OPERATOR) -> Iterator[dict[str, Any]]:
    """The entries of one user in an audit log and the parts of it that were moved away, oldest first."""
    for part in (*sorted(path.parent.glob(f"{path.stem}-*{path.suffix}")), path):
        with part.open("rb") as lines:
            # The last one may be in the middle of being written. Parsing is what costs.
            mine = (line for line in lines if user.encode() in line and line.endswith(b"\n"))
            yield from (e for e in map(json.loads, mine) if e["user"].get("username") == user)


def collect_requests(entries: Iterable[Mapping[str, Any]]) -> set[Request]:
    """The requests that not everybody may send anyway."""
    return {request for entry in entries if not _is_open_to_all(entry) for request in _requests(entry)}


def _is_open_to_all(entry: Mapping[str, Any]) -> bool:
    """Whether one of the bindings that Kubernetes itself brings allowed it: discovery, reviews of oneself."""
    reason = entry.get("annotations", {}).get("authorization.k8s.io/reason", "")
    return 'of ClusterRole "system:' in reason


def _requests(entry: Mapping[str, Any]) -> Iterator[Request]:
    # A request for no resource is known by its path.
    about = entry.get("objectRef") or {"resource": entry["requestURI"]}
    resource = "/".join(filter(None, (about["resource"], about.get("subresource"))))
    verb, status = entry["verb"], entry.get("responseStatus", {})
    request = Request(
        verb=verb,
        group=about.get("apiGroup", ""),
        resource=resource,
        namespace=about.get("namespace", ""),
        # The log knows it from the body, which the authorizer never sees; a subresource has it in its path.
        name="" if verb == "create" and not about.get("subresource") else about.get("name", ""),
        refusal=status.get("message", "forbidden") if _is_missing_permission(entry) else "",
    )
    yield request
    if verb == "patch" and status.get("code") == 201:
        # Server-side apply of something new: this is asked of the authorizer too, with the name.
        yield msgspec.structs.replace(request, verb="create")


def _is_missing_permission(entry: Mapping[str, Any]) -> bool:
    """Whether RBAC refused it, at the door or later; admission answers with the same code."""
    if entry.get("annotations", {}).get("authorization.k8s.io/decision") == "forbid":
        return True
    status = entry.get("responseStatus", {})
    # What the handlers of server-side apply and of roles ask the authorizer themselves.
    words = ('" cannot ', "is attempting to grant RBAC permissions not currently held")
    return status.get("code") == 403 and any(text in status.get("message", "") for text in words)


class RecordRequests(Protocol):
    """`write_record` into the folder of this test run, if it has one."""

    def __call__(self, audit_log: Path, user: str = OPERATOR) -> None: ...


def write_record(directory: Path, audit_log: Path, user: str = OPERATOR) -> None:
    """Add what the operator, as that user, asked according to an audit log.

    With the names of Kagenti: the chart's rules for the platform's other name are the same with that one.
    """
    directory.mkdir(parents=True, exist_ok=True)
    requests = msgspec.json.encode(sorted(collect_requests(read_audit_log(audit_log, user))))
    requests = requests.replace(ROSSOCTL.prefix.encode(), KAGENTI.prefix.encode())
    (directory / f"{uuid.uuid4().hex}.json").write_bytes(requests)


def read_records(directory: Path) -> set[Request]:
    """Everything that was recorded there."""
    found: set[Request] = set()
    for path in directory.glob("*.json"):
        found.update(msgspec.json.decode(path.read_bytes(), type=list[Request]))
    return found
