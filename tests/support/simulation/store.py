"""The objects of the model cluster: versions, history, preconditions, namespaces that are going."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from tests.support.simulation.kinds import (
    CRDS,
    EVENTS,
    KINDS,
    NAMESPACES,
    ROLE_BINDINGS,
    Kind,
    Selector,
)
from tests.support.simulation.merge import (
    Object,
    Owned,
    apply,
    content,
    copy,
    render_managed_fields,
    updated,
)

# As `metadata.uid` has them: recognizable wherever they are copied to.
UID = "10000000-0000-4000-8000-{:012d}"


class Refusal(Exception):
    """The API server does not do it."""

    def __init__(self, status: int, reason: str, message: str, causes: tuple[str, ...] = ()) -> None:
        super().__init__(message)
        self.status = status
        self.reason = reason
        self.causes = causes


@dataclass(frozen=True, slots=True)
class Change:
    """One version of one object. `before`, `after`: None where there was none, or is none."""

    version: int
    kind: Kind
    before: Object | None
    after: Object | None

    @property
    def object(self) -> Object:
        found = self.after or self.before
        assert found is not None
        return found


type Key = tuple[Kind, str, str]


class Store:
    """Objects by kind, namespace and name. What it returns must not be changed."""

    def __init__(self, now: Callable[[], str]) -> None:
        self.version = 1000
        # Up to here it is not known any more what happened.
        self.compacted = 0
        self.history: list[Change] = []
        self.observers: list[Callable[[Change], None]] = []
        self._now = now
        self._objects: dict[Kind, dict[tuple[str, str], Object]] = {kind: {} for kind in KINDS}
        self._owned: dict[Key, Owned] = {}
        self._uids = 0

    # --- reading ---------------------------------------------------------------------------------------

    def get(self, kind: Kind, namespace: str, name: str) -> Object | None:
        return self._objects[kind].get((namespace, name))

    def all(self, kind: Kind) -> Iterator[Object]:
        return iter(tuple(self._objects[kind].values()))

    def select(self, kind: Kind, selector: Selector) -> list[Object]:
        found = self._objects[kind]
        return [found[key] for key in sorted(found) if selector.matches(found[key])]

    def serves(self, kind: Kind) -> bool:
        return not kind.crd or self.get(CRDS, "", kind.crd_name) is not None

    def managed_fields(self, kind: Kind, obj: Object) -> list[Object]:
        meta = obj["metadata"]
        return render_managed_fields(self._owned.get((kind, meta.get("namespace", ""), meta["name"]), {}))

    def knows_uid(self, uid: str) -> bool:
        return any(
            o["metadata"]["uid"] == uid for objects in self._objects.values() for o in objects.values()
        )

    # --- writing ---------------------------------------------------------------------------------------

    def create(self, kind: Kind, body: Mapping[str, Any], manager: str) -> Object:
        meta = body["metadata"]
        namespace, name = meta.get("namespace", ""), meta["name"]
        if self.get(kind, namespace, name) is not None:
            raise Refusal(409, "AlreadyExists", f"{kind.plural} {name} already exists")
        return self._put(kind, namespace, name, copy(dict(body)), updated(None, dict(body), manager, {}))

    def apply(self, kind: Kind, body: Mapping[str, Any], manager: str) -> Object:
        """Server-side apply, with force."""
        meta = body["metadata"]
        namespace, name = meta.get("namespace", ""), meta["name"]
        live = self.get(kind, namespace, name)
        self._check(kind, live, meta)
        merged, owned = apply(live, body, manager, self._owned.get((kind, namespace, name), {}))
        if live is None:
            merged = {**merged, "apiVersion": body["apiVersion"], "kind": body["kind"]}
            merged["metadata"] = {**merged["metadata"], "name": name}
        return self._put(kind, namespace, name, merged, owned)

    def replace(self, kind: Kind, body: Mapping[str, Any], manager: str) -> Object:
        """PUT, or a patch that was carried out; of the version that is given, if any."""
        meta = body["metadata"]
        namespace, name = meta.get("namespace", ""), meta["name"]
        live = self.get(kind, namespace, name)
        if live is None:
            raise Refusal(404, "NotFound", f"{kind.plural} {name} not found")
        self._check(kind, live, meta)
        owned = updated(live, dict(body), manager, self._owned.get((kind, namespace, name), {}))
        return self._put(kind, namespace, name, copy(dict(body)), owned)

    def set_status(self, kind: Kind, obj: Object, status: Mapping[str, Any]) -> None:
        """As whoever reports on an object does."""
        meta = obj["metadata"]
        namespace, name = meta.get("namespace", ""), meta["name"]
        live = self.get(kind, namespace, name)
        if live is not None and live["metadata"]["uid"] == meta["uid"]:
            self._put(
                kind,
                namespace,
                name,
                {**copy(live), "status": dict(status)},
                self._owned[kind, namespace, name],
            )

    def delete(self, kind: Kind, namespace: str, name: str, uid: str | None = None) -> Object:
        live = self.get(kind, namespace, name)
        if live is None:
            raise Refusal(404, "NotFound", f"{kind.plural} {name} not found")
        if uid and live["metadata"]["uid"] != uid:
            raise Refusal(409, "Conflict", f"the UID in the precondition is not that of {name}")
        if kind == NAMESPACES and any(True for _ in self._inside(name)):
            going = copy(live)
            going["metadata"]["deletionTimestamp"] = self._now()
            return self._put(kind, "", name, going, self._owned[kind, "", name])
        del self._objects[kind][namespace, name]
        self._owned.pop((kind, namespace, name), None)
        self.version += 1
        last = {**live, "metadata": {**live["metadata"], "resourceVersion": str(self.version)}}
        self._note(Change(self.version, kind, last, None))
        if kind == CRDS:
            self._end_kind(name)
        return last

    def finish_namespace(self, name: str) -> None:
        """Delete what is in a namespace that is going, then the namespace."""
        for kind, key in tuple(self._inside(name)):
            self.delete(kind, *key)
        if self.get(NAMESPACES, "", name):
            self.delete(NAMESPACES, "", name)

    def _inside(self, namespace: str) -> Iterator[tuple[Kind, tuple[str, str]]]:
        for kind, objects in self._objects.items():
            for key in tuple(objects):
                if key[0] == namespace:
                    yield kind, key

    def _end_kind(self, crd_name: str) -> None:
        for kind in KINDS:
            if kind.crd and kind.crd_name == crd_name:
                for key in tuple(self._objects[kind]):
                    self.delete(kind, *key)

    def _check(self, kind: Kind, live: Object | None, given: Mapping[str, Any]) -> None:
        name = given["name"]
        uid, version = given.get("uid"), given.get("resourceVersion")
        if live is None:
            if uid or version:
                raise Refusal(409, "Conflict", f"{kind.plural} {name}: uid mismatch, no existing object")
            return
        if uid and uid != live["metadata"]["uid"]:
            raise Refusal(409, "Conflict", f"{kind.plural} {name}: uid mismatch")
        if version and version != live["metadata"]["resourceVersion"]:
            raise Refusal(409, "Conflict", f"{kind.plural} {name}: the object has been modified")

    def _put(self, kind: Kind, namespace: str, name: str, obj: Object, owned: Owned) -> Object:
        before = self.get(kind, namespace, name)
        if before is None:
            self._check_namespace(kind, namespace)
            self._uids += 1
            identity: Object = {
                "uid": UID.format(self._uids),
                "creationTimestamp": self._now(),
                "generation": 1,
            }
        else:
            known = before["metadata"]
            identity = {key: known[key] for key in ("uid", "creationTimestamp", "generation")}
            if kind == ROLE_BINDINGS and before.get("roleRef") != obj.get("roleRef"):
                raise Refusal(422, "Invalid", f"{kind.plural} {name}: cannot change roleRef")
            if content(before).get("spec") != content(obj).get("spec"):
                identity["generation"] += 1
        obj["metadata"] = {**obj["metadata"], **identity, "name": name}
        if kind.namespaced:
            obj["metadata"]["namespace"] = namespace
        obj["metadata"].pop("resourceVersion", None)
        self._owned[kind, namespace, name] = owned
        if (
            before is not None
            and {
                **before,
                "metadata": {k: v for k, v in before["metadata"].items() if k != "resourceVersion"},
            }
            == obj
        ):
            return before
        self.version += 1
        obj["metadata"]["resourceVersion"] = str(self.version)
        self._objects[kind][namespace, name] = obj
        self._note(Change(self.version, kind, before, obj))
        return obj

    def _check_namespace(self, kind: Kind, namespace: str) -> None:
        if not kind.namespaced:
            return
        found = self.get(NAMESPACES, "", namespace)
        if found is None:
            raise Refusal(404, "NotFound", f'namespaces "{namespace}" not found')
        if found["metadata"].get("deletionTimestamp"):
            message = f"{kind.plural} cannot be made: namespace {namespace} is being terminated"
            raise Refusal(403, "Forbidden", message, ("NamespaceTerminating",))

    def _note(self, change: Change) -> None:
        if change.kind != EVENTS:
            self.history.append(change)
        for observer in tuple(self.observers):
            observer(change)

    def compact(self) -> None:
        """Forget all that happened until now."""
        self.compacted = self.version
        self.history.clear()
