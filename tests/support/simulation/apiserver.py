"""The model API server: requests on the store, with everything that may go wrong on their way."""

import asyncio
from collections.abc import Callable, Mapping
from typing import Any

import msgspec

from tests.support.simulation import faults as f
from tests.support.simulation.faults import Faults, Verdict, deliver
from tests.support.simulation.kinds import (
    BY_PATH,
    CRDS,
    GROUPS,
    KINDS,
    SERVICE_ACCOUNTS,
    Kind,
    parse_selector,
)
from tests.support.simulation.loop import WORLD
from tests.support.simulation.merge import Object, json_patch, merge_patch
from tests.support.simulation.store import Change, Refusal, Store
from tests.support.simulation.watches import Watch
from tests.support.simulation.wire import Reply, Request, to_json

# Of a list; smaller than anybody asks for, so that fleets of two have pages.
PAGE = 1
_HTML = b"<html><body>Bad Gateway</body></html>"
_REASONS = {
    401: "Unauthorized",
    403: "Forbidden",
    404: "NotFound",
    409: "Conflict",
    410: "Expired",
    429: "TooManyRequests",
    500: "InternalError",
    503: "ServiceUnavailable",
    504: "Timeout",
}
# Called with each write that was carried out, before its answer is sent: kind, what, and who wrote.
type WriteObserver = Callable[[Kind, str, Request], None]


class ApiServer:
    """A peer of the network."""

    def __init__(self, store: Store, faults: Faults) -> None:
        self.store = store
        self.watches: list[Watch] = []
        self.on_write: list[WriteObserver] = []
        self.requests = 0
        # Tokens of ServiceAccounts that were requested.
        self.tokens: set[str] = set()
        self._faults = faults
        self._pages: dict[str, tuple[int, list[Object]]] = {}
        store.observers.append(self._show)

    def arrive(self, request: Request) -> None:
        """A request is here; `faults` decide what becomes of it."""
        self.requests += 1
        verdict = self._faults.judge(request, _plural(request.path))
        match verdict.what:
            case f.HANG:
                return
            case f.LOSE_REQUEST:
                request.line.cut()
            case f.REFUSE:
                request.line.send(self._refuse(verdict).encode(), verdict.after)
            case _:
                if verdict.before:
                    loop = asyncio.get_running_loop()
                    loop.call_later(verdict.before, self._carry_out, request, verdict, context=WORLD)
                else:
                    self._carry_out(request, verdict)

    def _refuse(self, verdict: Verdict) -> Reply:
        if verdict.status == 502:
            return Reply(502, _HTML, {"Content-Type": "text/html"})
        headers = {"Retry-After": "2"} if verdict.status == 429 else {}
        return Reply(
            verdict.status, to_json(status_object(verdict.status, message="refused by dice")), headers
        )

    def _carry_out(self, request: Request, verdict: Verdict) -> None:
        try:
            reply = self._answer(request)
        except Refusal as refusal:
            causes = refusal.causes
            body = status_object(refusal.status, refusal.reason, str(refusal), causes)
            reply = Reply(refusal.status, to_json(body))
        if reply is None:
            return
        deliver(request, reply, verdict)

    # --- what is asked ---------------------------------------------------------------------------------

    def _answer(self, request: Request) -> Reply | None:
        """None where the answer is a stream."""
        parts = request.path.strip("/").split("/")
        if parts[:2] == ["apis", "authorization.k8s.io"]:
            return Reply(201, to_json({"status": {"allowed": True}}))
        if parts[0] == "apis" and len(parts) <= 3:
            return self._discover(*parts[1:])
        group, version, *rest = parts[1:] if parts[0] == "apis" else ["", *parts[1:]]
        namespace = ""
        if rest[0] == "namespaces" and len(rest) > 2:
            namespace, rest = rest[1], rest[2:]
        kind = BY_PATH.get((group, version, rest[0]))
        if kind is None or not self._serves(kind):
            raise Refusal(404, "NotFound", "the server could not find the requested resource")
        match rest[1:]:
            case [] if request.method == "GET":
                return (
                    self._watch(kind, namespace, request)
                    if request.is_watch
                    else self._list(kind, namespace, request)
                )
            case []:
                return self._create(kind, request)
            case [name]:
                return self._one(kind, namespace, name, request)
            case [name, "token"] if kind is SERVICE_ACCOUNTS:
                return self._token(namespace, name)
            case _:
                raise Refusal(404, "NotFound", f"no subresource {request.path}")

    def _serves(self, kind: Kind) -> bool:
        return self.store.serves(kind) and not (kind.crd and self._faults.find(f.UNKNOWN_API, kind.plural))

    def _discover(self, group: str, version: str = "") -> Reply:
        found = [kind for kind in KINDS if kind.group == group and self._serves(kind)]
        if group not in GROUPS or not found:
            raise Refusal(404, "NotFound", "the server could not find the requested resource")
        served = [{"name": kind.plural, "namespaced": kind.namespaced} for kind in found]
        return Reply(200, to_json({"resources": served if version else []}))

    def _token(self, namespace: str, name: str) -> Reply:
        if self.store.get(SERVICE_ACCOUNTS, namespace, name) is None:
            raise Refusal(404, "NotFound", f"serviceaccounts {name} not found")
        token = f"{namespace}:{name}:{len(self.tokens)}"
        self.tokens.add(token)
        return Reply(201, to_json({"status": {"token": token}}))

    def _list(self, kind: Kind, namespace: str, request: Request) -> Reply:
        if token := request.query.get("continue"):
            version, items = self._pages.pop(token, (0, []))
            if version < max(self.store.compacted, 1) or self._faults.find(f.EXPIRED_PAGES, kind.plural):
                raise Refusal(410, "Expired", "The provided continue parameter is too old")
        else:
            version = self.store.version
            items = self.store.select(kind, parse_selector(namespace, request.query))
        page, rest = items[:PAGE], items[PAGE:]
        metadata = {"resourceVersion": str(version)}
        if rest:
            metadata["continue"] = token = f"{version}-{len(self._pages)}-{self.requests}"
            self._pages[token] = version, rest
        return Reply(200, to_json({"kind": f"{kind.kind}List", "metadata": metadata, "items": page}))

    def _create(self, kind: Kind, request: Request) -> Reply:
        body = msgspec.json.decode(request.body)
        created = self.store.create(kind, body, request.query.get("fieldManager", ""))
        self._wrote(kind, "create", request)
        return Reply(201, to_json(created))

    def _one(self, kind: Kind, namespace: str, name: str, request: Request) -> Reply:
        live = self.store.get(kind, namespace, name)
        if request.method == "GET":
            if live is None:
                raise Refusal(404, "NotFound", f"{kind.plural} {name} not found")
            managed = self.store.managed_fields(kind, live)
            return Reply(200, to_json({**live, "metadata": {**live["metadata"], "managedFields": managed}}))
        body = msgspec.json.decode(request.body)
        if request.method == "DELETE":
            conditions: Object = body.get("preconditions") or {}
            uid = conditions.get("uid")
            gone = self.store.delete(kind, namespace, name, uid)
            self._wrote(kind, "delete", request)
            return Reply(200, to_json(gone))
        manager = request.query.get("fieldManager", "")
        written = self._write(kind, live, name, body, request.headers.get("content-type", ""), manager)
        if written is not live:
            self._wrote(kind, "update" if live else "create", request)
        return Reply(200 if live else 201, to_json(written))

    def _write(
        self, kind: Kind, live: Object | None, name: str, body: Any, content_type: str, manager: str
    ) -> Object:
        if "apply-patch" in content_type:
            return self.store.apply(kind, body, manager)
        if live is None:
            raise Refusal(404, "NotFound", f"{kind.plural} {name} not found")
        if "merge-patch" in content_type:
            return self.store.replace(kind, merge_patch(live, body), manager)
        if "json-patch" in content_type:
            try:
                return self.store.replace(kind, json_patch(live, body), manager)
            except (KeyError, IndexError) as error:
                raise Refusal(422, "Invalid", f"{kind.plural} {name}: {error}") from error
        return self.store.replace(kind, body, manager)

    def _wrote(self, kind: Kind, what: str, request: Request) -> None:
        for observer in self.on_write:
            observer(kind, what, request)

    # --- watches ---------------------------------------------------------------------------------------

    def _watch(self, kind: Kind, namespace: str, request: Request) -> Reply | None:
        selector = parse_selector(namespace, request.query)
        since = int(request.query["resourceVersion"])
        if since > self.store.version or self._faults.find(f.STALE, kind.plural):
            raise Refusal(504, "Timeout", "Too large resource version", ("ResourceVersionTooLarge",))
        expired = since < self.store.compacted
        if expired and since % 2:
            # Both forms are seen of real API servers.
            raise Refusal(410, "Expired", f"too old resource version: {since}")
        seconds = float(request.query.get("timeoutSeconds", "300"))
        watch = Watch(kind, selector, request.line, seconds, self._lag_of(kind))
        if expired:
            watch.refuse(status_object(410, "Expired", f"too old resource version: {since}"))
            return None
        self.watches.append(watch)
        request.line.on_close = watch.close
        for change in self.store.history:
            if change.version > since:
                watch.take(change)
        watch.show_version(self.store.version)
        return None

    def _lag_of(self, kind: Kind) -> Callable[[], float]:
        def lag() -> float:
            found = self._faults.find(f.LAG, kind.plural)
            return float(found.value) if found else 0.0

        return lag

    def _show(self, change: Change) -> None:
        self.watches = [watch for watch in self.watches if not watch.silent]
        gone = change.object["metadata"]["name"] if change.kind is CRDS and change.after is None else ""
        for watch in self.watches:
            watch.take(change)
            watch.show_version(change.version)
            if gone and watch.kind.crd_name == gone:
                watch.end()

    def strike(self, what: str, plural: str) -> None:
        """Something happens to open watches."""
        for watch in tuple(self.watches):
            if watch.silent or (plural and watch.kind.plural != plural):
                continue
            match what:
                case f.CUT_WATCHES:
                    watch.line.cut()
                case f.EXPIRE_WATCHES:
                    watch.refuse(status_object(410, "Expired", "too old resource version"))
                case f.SILENCE:
                    watch.close()
                case _:
                    raise ValueError(what)


def status_object(status: int, reason: str = "", message: str = "", causes: tuple[str, ...] = ()) -> Object:
    """A `meta/v1` Status."""
    details: Mapping[str, Any] = {"causes": [{"reason": cause} for cause in causes]} if causes else {}
    return {
        "kind": "Status",
        "apiVersion": "v1",
        "status": "Failure",
        "reason": reason or _REASONS.get(status, ""),
        "message": message,
        "details": details,
        "code": status,
    }


def _plural(path: str) -> str:
    parts = path.strip("/").split("/")[2 if path.startswith("/api/") else 3 :]
    if parts[:1] == ["namespaces"] and len(parts) > 2:
        parts = parts[2:]
    return parts[0] if parts else ""
