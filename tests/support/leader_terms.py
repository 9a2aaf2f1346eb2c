"""Who led when, and who wrote when, by the API server's audit log."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

_WRITES = ("create", "update", "patch", "delete")
# Every replica asks these, the leader or not: they change nothing.
_REVIEWS = ("selfsubjectaccessreviews", "subjectaccessreviews", "tokenreviews")


@dataclass(frozen=True, kw_only=True)
class Write:
    """A write of one replica, known by its pod, from its arrival at the API server to the answer."""

    pod: str
    verb: str
    resource: str
    # Namespace and name.
    about: str
    taken: bool
    received: datetime
    answered: datetime

    @property
    def lease(self) -> bool:
        """Whether it is about the leadership itself."""
        return self.resource == "leases"


@dataclass(frozen=True, kw_only=True)
class Term:
    """What one replica wrote from acquiring the lease until another did; `until` is when that was."""

    pod: str
    since: datetime
    until: datetime | None
    leases: Sequence[Write]
    work: Sequence[Write]


def collect_writes(entries: Iterable[Mapping[str, Any]]) -> list[Write]:
    """All writes of replicas, in the order of their arrival, from the operator's entries in the log."""
    found = [_write(entry) for entry in entries if _is_write(entry)]
    return sorted(found, key=lambda write: write.received)


def _is_write(entry: Mapping[str, Any]) -> bool:
    about = entry.get("objectRef", {})
    # A token that is requested changes nothing either.
    asks = about.get("resource") in _REVIEWS or about.get("subresource") == "token"
    return entry["verb"] in _WRITES and not asks


def _write(entry: Mapping[str, Any]) -> Write:
    about = entry["objectRef"]
    (pod,) = entry["user"]["extra"]["authentication.kubernetes.io/pod-name"]
    return Write(
        pod=pod,
        verb=entry["verb"],
        resource=about["resource"],
        about=f"{about.get('namespace', '')}/{about.get('name', '')}",
        taken=entry.get("responseStatus", {}).get("code", 500) < 300,
        received=datetime.fromisoformat(entry["requestReceivedTimestamp"]),
        answered=datetime.fromisoformat(entry["stageTimestamp"]),
    )


def collect_terms(writes: Sequence[Write]) -> list[Term]:
    """The terms in their order: a replica's begins with the first lease that it writes after another's."""
    leases = [write for write in writes if write.lease and write.taken]
    begins = [
        w for before, w in zip([None, *leases], leases, strict=False) if not before or before.pod != w.pod
    ]
    ends = [*(write.answered for write in begins[1:]), None]
    return [_term(first, until, writes) for first, until in zip(begins, ends, strict=True)]


def _term(first: Write, until: datetime | None, writes: Sequence[Write]) -> Term:
    own = [
        w
        for w in writes
        if w.pod == first.pod and w.received >= first.received and (until is None or w.answered <= until)
    ]
    leases = [write for write in own if write.lease and write.taken]
    work = [write for write in own if not write.lease and write.received >= first.answered]
    return Term(pod=first.pod, since=first.answered, until=until, leases=leases, work=work)


def find_writes_out_of_term(writes: Sequence[Write]) -> list[Write]:
    """Writes that do not lie within a term of their own replica: two wrote at once, or might have."""
    within = {id(write) for term in collect_terms(writes) for write in term.work}
    return [write for write in writes if not write.lease and id(write) not in within]
