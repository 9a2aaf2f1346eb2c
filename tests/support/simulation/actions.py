"""What people do to the cluster: plain data, so that a scenario can be shrunk and printed."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from kagenti_operator.contract import COLLECTOR, COLLECTOR_CONFIG, INTEGRATION_ROLE, KAGENTI
from tests.support.simulation.kinds import (
    BY_NAME,
    CLUSTER_ROLES,
    CONFIG_MAPS,
    CRDS,
    DEPLOYMENTS,
    MLFLOWS,
    NAMESPACES,
    ROLE_BINDINGS,
    ROLES,
    SANDBOXES,
    Kind,
)
from tests.support.simulation.merge import Object, copy
from tests.support.simulation.mlflow import MLflowServer
from tests.support.simulation.platform import (
    build_agent,
    build_collector,
    build_crd,
    build_object,
    put_data_science_cluster,
)
from tests.support.simulation.standins import ADDRESS, StandIns
from tests.support.simulation.store import Refusal, Store

USER = "kubectl-edit"
_INJECT = KAGENTI.mlflow_annotation("inject")
_LABEL, _, _AGENT = KAGENTI.agent_selector.partition("=")


@dataclass(frozen=True, kw_only=True)
class Action:
    """One thing that somebody does, by the simulation's clock. `kind`: of a workload."""

    at: float
    do: str
    namespace: str = ""
    name: str = ""
    kind: str = "Deployment"
    value: str = ""


class Users:
    """They do it, or it is too late, or there is nothing to do it to."""

    def __init__(self, store: Store, mlflow: MLflowServer, stand_ins: StandIns) -> None:
        self._store = store
        self._mlflow = mlflow
        self._stand_ins = stand_ins
        self._by_name: Mapping[str, Callable[[Action], object]] = {
            "make agent": self._make,
            "delete agent": lambda it: self._delete(BY_NAME[it.kind], it.namespace, it.name),
            "recreate agent": self._recreate,
            "unlabel agent": lambda it: self._edit_agent(it, _unlabel),
            "label agent": lambda it: self._edit_agent(it, _label),
            "opt out": lambda it: self._edit_agent(it, _opt_out),
            "opt in": lambda it: self._edit_agent(it, _opt_in),
            "change image": lambda it: self._edit_agent(it, _change_image),
            "change account": lambda it: self._edit_agent(it, lambda obj: _change_account(obj, it.value)),
            "delete role": lambda it: self._delete(ROLES, it.namespace, KAGENTI.agent_role(it.name)),
            "delete binding": lambda it: self._delete(
                ROLE_BINDINGS, it.namespace, KAGENTI.agent_role(it.name)
            ),
            "empty binding": lambda it: self._edit(
                ROLE_BINDINGS, it.namespace, KAGENTI.agent_role(it.name), _empty
            ),
            "make role of its name": self._make_foreign_role,
            "delete namespace": lambda it: self._delete(NAMESPACES, "", it.namespace),
            "make namespace": lambda it: self._create(NAMESPACES, build_object(NAMESPACES, it.namespace)),
            "trash experiment": self._trash,
            "MLflow goes": lambda _: self._report(None),
            "MLflow comes": lambda _: self._report(ADDRESS),
            "delete MLflow": lambda _: self._delete(MLFLOWS, "", "mlflow"),
            "set state": lambda it: put_data_science_cluster(store, it.value),
            "delete cluster role": lambda _: self._delete(CLUSTER_ROLES, "", INTEGRATION_ROLE),
            "make cluster role": lambda _: self._create(
                CLUSTER_ROLES, build_object(CLUSTER_ROLES, INTEGRATION_ROLE)
            ),
            "delete collector": lambda _: self._delete(DEPLOYMENTS, KAGENTI.namespace, COLLECTOR),
            "make collector": lambda it: self._create(DEPLOYMENTS, build_collector(it.value or COLLECTOR)),
            "delete configuration": lambda _: self._delete(CONFIG_MAPS, KAGENTI.namespace, COLLECTOR_CONFIG),
            "edit configuration": lambda _: self._edit(
                CONFIG_MAPS, KAGENTI.namespace, COLLECTOR_CONFIG, lambda obj: obj["data"].clear()
            ),
            "delete collector's binding": lambda it: self._delete(
                ROLE_BINDINGS, it.namespace, "otel-collector-mlflow"
            ),
            "define sandboxes": lambda _: self._create(CRDS, build_crd(SANDBOXES)),
        }

    def do(self, action: Action) -> None:
        self._by_name[action.do](action)

    def _make(self, it: Action) -> None:
        self._create(BY_NAME[it.kind], build_agent(it.kind, it.namespace, it.name, account=it.value))

    def _recreate(self, it: Action) -> None:
        kind = BY_NAME[it.kind]
        if self._store.get(kind, it.namespace, it.name):
            self._delete(kind, it.namespace, it.name)
            self._make(it)

    def _make_foreign_role(self, it: Action) -> None:
        rules = [{"apiGroups": [""], "resources": ["secrets"], "verbs": ["*"]}]
        role = build_object(ROLES, KAGENTI.agent_role(it.name), it.namespace, rules=rules)
        self._create(ROLES, role)

    def _trash(self, it: Action) -> None:
        if record := self._mlflow.named(it.namespace, it.name):
            record.stage = "deleted"

    def _report(self, address: str | None) -> None:
        self._stand_ins.mlflow_address = address
        self._stand_ins.report_mlflow()

    def _edit_agent(self, it: Action, change: Callable[[Object], object]) -> None:
        self._edit(BY_NAME[it.kind], it.namespace, it.name, change)

    def _edit(self, kind: Kind, namespace: str, name: str, change: Callable[[Object], object]) -> None:
        if found := self._store.get(kind, namespace, name):
            body = copy(found)
            change(body)
            self._store.replace(kind, body, USER)

    def _create(self, kind: Kind, body: Object) -> None:
        try:
            if self._store.serves(kind):
                self._store.create(kind, body, USER)
        except Refusal:
            # It is there, or its namespace is not.
            return

    def _delete(self, kind: Kind, namespace: str, name: str) -> None:
        if self._store.get(kind, namespace, name):
            self._store.delete(kind, namespace, name)


def template_of(obj: Object) -> dict[str, Any]:
    return obj["spec"]["podTemplate" if obj["kind"] == "Sandbox" else "template"]


def _unlabel(obj: Object) -> None:
    obj["metadata"]["labels"].pop(_LABEL, None)


def _label(obj: Object) -> None:
    obj["metadata"]["labels"][_LABEL] = _AGENT


def _opt_out(obj: Object) -> None:
    obj["metadata"].setdefault("annotations", {})[_INJECT] = "disabled"


def _opt_in(obj: Object) -> None:
    obj["metadata"].get("annotations", {}).pop(_INJECT, None)


def _change_image(obj: Object) -> None:
    template_of(obj)["spec"]["containers"][0]["image"] += "1"


def _change_account(obj: Object, account: str) -> None:
    template_of(obj)["spec"]["serviceAccountName"] = account


def _empty(obj: Object) -> None:
    obj["subjects"] = []
