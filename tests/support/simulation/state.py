"""The state that counts in the end, with what differs from run to run put in words."""

import re
from collections.abc import Iterator, Mapping
from typing import Any

import msgspec

from kagenti_operator.contract import COLLECTOR, COLLECTOR_CONFIG, COLLECTOR_CONFIG_KEY, INGRESS_CA, KAGENTI
from kagenti_operator.otelcol.render import config_hash
from tests.support.simulation.actions import template_of
from tests.support.simulation.invariants import experiment_of, is_ours, is_served
from tests.support.simulation.kinds import (
    CONFIG_MAPS,
    DEPLOYMENTS,
    KINDS,
    MLFLOWS,
    ROLE_BINDINGS,
    ROLES,
    WORKLOADS,
    Kind,
)
from tests.support.simulation.merge import Object
from tests.support.simulation.mlflow import MLflowServer
from tests.support.simulation.store import Store

_UID = re.compile(r"10000000-0000-4000-8000-\d{12}")
_ID = re.compile(r"\b77\d{10}\b")
_TIME = re.compile(r"\b1767\d{9}\b")

# What and its normalized JSON.
type State = Mapping[str, str]


def read_state(store: Store, mlflow: MLflowServer) -> State:
    """Everything that is the operator's business."""
    uids = {
        obj["metadata"]["uid"]: f"<uid of {kind.kind} {'/'.join(_key(obj))}>"
        for kind in KINDS
        for obj in store.all(kind)
    }
    experiments = {it.id: f"{it.workspace}/{it.name} {it.stage}" for it in mlflow.experiments.values()}
    times = {str(it.created): f"{it.workspace}/{it.name}" for it in mlflow.experiments.values()}

    def normalize(value: object) -> str:
        text = msgspec.json.encode(value, order="sorted").decode()
        text = _UID.sub(lambda found: uids.get(found[0], "<uid of nothing>"), text)
        text = _ID.sub(lambda found: f"<id of {experiments.get(found[0])}>", text)
        return _TIME.sub(lambda found: f"<time of {times.get(found[0])}>", text)

    return {f"{kind.kind} {'/'.join(_key(obj))}": normalize(shown) for kind, obj, shown in _shown(store)}


def _shown(store: Store) -> Iterator[tuple[Kind, Object, object]]:
    for kind in (ROLES, ROLE_BINDINGS):
        for obj in store.all(kind):
            meta = obj["metadata"]
            shown = {key: meta.get(key) for key in ("labels", "annotations")}
            owners = sorted(owner["uid"] for owner in meta.get("ownerReferences") or ())
            yield (
                kind,
                obj,
                {**shown, "owners": owners, "rest": [obj.get(k) for k in ("rules", "roleRef", "subjects")]},
            )
    for kind in WORKLOADS:
        for obj in store.all(kind):
            if (kind, obj["metadata"]["name"]) != (DEPLOYMENTS, COLLECTOR):
                yield kind, obj, {"meta": obj["metadata"].get("annotations"), "template": template_of(obj)}
    for obj in store.all(MLFLOWS):
        yield MLFLOWS, obj, {"ours": is_ours(obj), "spec": obj.get("spec")}
    yield from _collector(store)


def _collector(store: Store) -> Iterator[tuple[Kind, Object, object]]:
    if copy := store.get(CONFIG_MAPS, KAGENTI.namespace, INGRESS_CA):
        yield CONFIG_MAPS, copy, copy.get("data")
    config = store.get(CONFIG_MAPS, KAGENTI.namespace, COLLECTOR_CONFIG)
    data: Object = (config or {}).get("data") or {}
    text: str = data.get(COLLECTOR_CONFIG_KEY, "")
    digest = config_hash(text)
    if config:
        annotations: Object = config["metadata"].get("annotations") or {}
        fits = annotations.get(KAGENTI.config_hash_annotation) == digest
        yield CONFIG_MAPS, config, {"text": text, "hash fits": fits}
    if collector := store.get(DEPLOYMENTS, KAGENTI.namespace, COLLECTOR):
        found: dict[str, Any] = dict(template_of(collector)["metadata"].get("annotations") or {})
        fits = found.pop(KAGENTI.config_hash_annotation, None) == digest
        yield DEPLOYMENTS, collector, {"rolled to it": fits, "others": found}


def _key(obj: Object) -> tuple[str, str]:
    return obj["metadata"].get("namespace", ""), obj["metadata"]["name"]


def compare(expected: State, found: State) -> list[str]:
    """What differs, a line each."""
    return [
        f"{what}\n    should be {expected.get(what)}\n    is        {found.get(what)}"
        for what in sorted({*expected, *found})
        if expected.get(what) != found.get(what)
    ]


def find_faults(store: Store) -> list[str]:
    """What is wrong with a state in the end, whatever led to it: every agent has all or nothing."""
    found: list[str] = []
    for kind in WORKLOADS:
        for obj in store.all(kind):
            namespace, name = _key(obj)
            if (namespace, name) == (KAGENTI.namespace, COLLECTOR):
                continue
            role, binding = (
                store.get(it, namespace, KAGENTI.agent_role(name)) for it in (ROLES, ROLE_BINDINGS)
            )
            has = {
                "Role": role is not None and is_ours(role),
                "RoleBinding": binding is not None and is_ours(binding),
                "experiment": experiment_of(obj) is not None,
            }
            wanted = is_served(obj)
            found += [
                f"{kind.kind} {namespace}/{name}: {'lacks' if wanted else 'still has'} its {what}"
                for what, there in has.items()
                if there != wanted
            ]
    return found
