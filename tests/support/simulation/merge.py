"""Pure: how the API server merges what is written: server-side apply with field managers, and patches.

As far as the operator's objects need it. A path is a tuple of the keys that `managedFields` has.
"""

import json
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, TypeGuard

type Object = dict[str, Any]
type Path = tuple[str, ...]
# Field manager, and Apply or Update.
type Manager = tuple[str, str]
type Owned = Mapping[Manager, frozenset[Path]]

# Lists whose items have an identity; all others are replaced whole.
_ITEM_KEYS = {
    "containers": "name",
    "initContainers": "name",
    "volumes": "name",
    "env": "name",
    "conditions": "type",
    "ownerReferences": "uid",
}
_IDENTITY = frozenset(("name", "namespace", "uid", "resourceVersion", "creationTimestamp", "generation"))
_UNOWNED = frozenset(("apiVersion", "kind", "status"))


def is_object(value: Any) -> TypeGuard[Object]:
    """Whether it is an object of JSON."""
    return isinstance(value, dict)


def is_list(value: Any) -> TypeGuard[list[Any]]:
    """Whether it is an array of JSON."""
    return isinstance(value, list)


def copy(value: Any) -> Any:
    """A deep copy of what came from JSON."""
    if is_object(value):
        return {key: copy(item) for key, item in value.items()}
    return [copy(item) for item in value] if is_list(value) else value


def content(obj: Mapping[str, Any]) -> Object:
    """What of an object can be owned."""
    kept = {key: value for key, value in obj.items() if key not in _UNOWNED}
    meta = obj.get("metadata", {})
    kept["metadata"] = {k: v for k, v in meta.items() if k not in _IDENTITY and k != "managedFields"}
    return kept


def fields(value: Any, path: Path = (), name: str = "") -> Iterator[Path]:
    """The paths of all leaves, and of the items of lists with identity."""
    if is_object(value) and value:
        for key, item in value.items():
            if item is not None:
                yield from fields(item, (*path, f"f:{key}"), key)
    elif is_list(value) and name in _ITEM_KEYS:
        for item in value:
            at = (*path, _item(item, name))
            yield at
            yield from fields(item, at)
    elif path:
        yield path


def apply(live: Object | None, config: Mapping[str, Any], manager: str, owned: Owned) -> tuple[Object, Owned]:
    """Server-side apply with force; returns the object and who owns what of it."""
    wanted = content(config)
    now = frozenset(fields(wanted))
    me = (manager, "Apply")
    # By force: what others own with another value is ours alone, what is equal is everybody's.
    have, want = dict(_leaves(content(live or {}))), dict(_leaves(wanted))
    taken = {path for path, value in want.items() if path in have and have[path] != value}
    others = {who: paths - taken for who, paths in owned.items() if who != me}
    result = _merge(copy(live) if live else {}, wanted, "")
    # An item first: without its identity it would not be found.
    for path in sorted(owned.get(me, frozenset()) - now, key=len):
        held = any(theirs[: len(path)] == path for paths in others.values() for theirs in paths)
        kept = any(mine[: len(path)] == path for mine in now)
        if not held and not kept:
            remove(result, path)
    return result, {who: paths for who, paths in {**others, me: now}.items() if paths}


def updated(before: Object | None, after: Object, manager: str, owned: Owned) -> Owned:
    """Who owns what after somebody has written the whole object."""
    old, new = dict(_leaves(content(before or {}))), dict(_leaves(content(after)))
    changed = frozenset(path for path, value in new.items() if path not in old or old[path] != value)
    me = (manager, "Update")
    result = {who: frozenset(p for p in paths if p in new) - changed for who, paths in owned.items()}
    result[me] = result.get(me, frozenset()) | changed
    return {who: paths for who, paths in result.items() if paths}


def remove(obj: Any, path: Path) -> None:
    """Take a field or an item out of an object, and what gets empty by that."""
    step, rest = path[0], path[1:]
    if step.startswith("k:"):
        key, value = next(iter(json.loads(step[2:]).items()))
        for index, item in enumerate(obj):
            if item.get(key) == value:
                if rest:
                    remove(item, rest)
                else:
                    del obj[index]
                return
        return
    name = step[2:]
    if name not in obj:
        return
    if not rest:
        del obj[name]
        return
    remove(obj[name], rest)
    if obj[name] in ({}, []):
        del obj[name]


def merge_patch(live: Any, patch: Any) -> Any:
    """A JSON merge patch (RFC 7386)."""
    if not is_object(patch):
        return patch
    result: Object = dict(live) if is_object(live) else {}
    for key, value in patch.items():
        if value is None:
            result.pop(key, None)
        else:
            result[key] = merge_patch(result.get(key), value)
    return result


def json_patch(live: Object, operations: Iterable[Mapping[str, Any]]) -> Object:
    """A JSON patch (RFC 6902) of `remove` and `replace`. Raises KeyError and IndexError."""
    result = copy(live)
    for operation in operations:
        steps = [part.replace("~1", "/").replace("~0", "~") for part in operation["path"].split("/")[1:]]
        at: Any = result
        for step in steps[:-1]:
            at = at[int(step)] if is_list(at) else at[step]
        last: Any = int(steps[-1]) if is_list(at) else steps[-1]
        if operation["op"] == "remove":
            del at[last]
        else:
            at[last] = operation["value"]
    return result


def render_managed_fields(owned: Owned) -> list[Object]:
    """As `metadata.managedFields` has it."""
    entries: list[Object] = []
    for (manager, operation), paths in owned.items():
        tree: Object = {}
        for path in paths:
            at: Any = tree
            for step in path:
                at = at.setdefault(step, {})
        entries.append(
            {"manager": manager, "operation": operation, "fieldsType": "FieldsV1", "fieldsV1": tree}
        )
    return entries


def _leaves(value: Any, path: Path = (), name: str = "") -> Iterator[tuple[Path, Any]]:
    if is_object(value) and value:
        for key, item in value.items():
            yield from _leaves(item, (*path, f"f:{key}"), key)
    elif is_list(value) and name in _ITEM_KEYS:
        for item in value:
            at = (*path, _item(item, name))
            yield at, None
            yield from _leaves(item, at)
    elif path:
        yield path, value


def _item(item: Mapping[str, Any], name: str) -> str:
    key = _ITEM_KEYS[name]
    return f"k:{json.dumps({key: item.get(key)})}"


def _merge(live: Any, wanted: Any, name: str) -> Any:
    if is_object(wanted):
        result: Object = live if is_object(live) else {}
        for key, value in wanted.items():
            if value is not None:
                result[key] = _merge(result.get(key), value, key)
        return result
    if is_list(wanted) and name in _ITEM_KEYS:
        key = _ITEM_KEYS[name]
        items: list[Any] = list(live or [])
        for item in wanted:
            known = next((it for it in items if it.get(key) == item.get(key)), None)
            if known is None:
                items.append(copy(item))
            else:
                _merge(known, item, "")
        return items
    return copy(wanted)
