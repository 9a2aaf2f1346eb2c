"""What must hold at every moment, whatever goes wrong."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from kagenti_operator.contract import (
    COLLECTOR,
    COLLECTOR_BINDING,
    EXPERIMENTS,
    KAGENTI,
    MANAGED_BY_LABEL,
    MLFLOW_NAMESPACE,
    NAME_VARIABLE,
    OPT_OUT_WORDS,
)
from tests.support.simulation.actions import template_of
from tests.support.simulation.kinds import (
    DATA_SCIENCE_CLUSTERS,
    DEPLOYMENTS,
    EVENTS,
    LEASES,
    ROLE_BINDINGS,
    ROLES,
    WORKLOADS,
    Kind,
)
from tests.support.simulation.merge import Object
from tests.support.simulation.mlflow import MLflowServer
from tests.support.simulation.store import Change, Store
from tests.support.simulation.wire import Request

_LABEL, _, _AGENT = KAGENTI.agent_selector.partition("=")
_INJECT = KAGENTI.mlflow_annotation("inject")


@dataclass(frozen=True)
class Violation:
    """What did not hold: `what` names the invariant, `text` says how."""

    what: str
    text: str


@dataclass(frozen=True)
class Right:
    """What a ServiceAccount may do with an experiment of its namespace's workspace."""

    namespace: str
    account: str
    experiment: str


class Invariants:
    """Follows every write."""

    def __init__(
        self,
        store: Store,
        mlflow: MLflowServer,
        clock: Any,
        *,
        workspace: str,
        staleness: float,
        elects: bool,
    ) -> None:
        """`staleness`: for how long a process may not hear of what others do; `elects`: there is a lease."""
        self.violations: list[Violation] = []
        self.last_write = 0.0
        self.writes = 0
        self._store = store
        self._mlflow = mlflow
        self._clock = clock
        self._workspace = workspace
        self._staleness = staleness
        self._elects = elects
        # Namespace, account and name of every agent that there ever was.
        self._agents: set[tuple[str, str, str]] = set()
        self._collector_accounts = {COLLECTOR, "default"}
        # What was granted at some moment.
        self._granted: set[Right] = set()
        # Whether MLflow was switched off at some moment.
        self._removed = False
        # Since when an agent has been served.
        self._served: dict[tuple[Kind, str, str], float] = {}
        # Those that were not, after they had been.
        self._interrupted: set[tuple[Kind, str, str]] = set()
        store.observers.append(self._follow)

    def report(self, what: str, text: str) -> None:
        self.violations.append(Violation(what, f"after {self._clock():.3f} s: {text}"))

    # --- what is desired -------------------------------------------------------------------------------

    def _follow(self, change: Change) -> None:
        obj = change.object
        meta = obj["metadata"]
        if change.kind is DEPLOYMENTS and (meta["namespace"], meta["name"]) == (KAGENTI.namespace, COLLECTOR):
            self._collector_accounts.add(account_of(obj))
        if change.kind is DATA_SCIENCE_CLUSTERS and "Removed" in str(obj.get("spec")):
            self._removed = True
        if change.kind not in WORKLOADS:
            return
        key = (change.kind, meta["namespace"], meta["name"])
        if change.after is not None and is_served(obj):
            self._served.setdefault(key, self._clock())
            self._agents.add((meta["namespace"], account_of(obj), meta["name"]))
        elif key in self._served:
            del self._served[key]
            self._interrupted.add(key)

    def _is_desired(self, right: Right) -> bool:
        served = (right.namespace, right.account, right.experiment) in self._agents
        return served and self._mlflow.named(right.namespace, right.experiment) is not None

    # --- what is written -------------------------------------------------------------------------------

    def on_write(self, kind: Kind, what: str, request: Request) -> None:
        """A process of the operator wrote something."""
        if kind is LEASES:
            return
        self.writes += 1
        self._check_leader(kind, what, request)
        if kind is EVENTS:
            return
        self.last_write = self._clock()
        namespace, name = request.path.split("/")[-3], request.path.split("/")[-1]
        if what == "delete" and b'"uid"' not in request.body:
            self.report("deleted by name alone", f"{kind.kind} {namespace}/{name}")
        if kind in (ROLES, ROLE_BINDINGS):
            if what == "delete":
                self._check_revoked(kind, namespace, name)
            else:
                self._check_rights(namespace, name)
        elif kind in WORKLOADS:
            self._check_granted(kind, namespace, name)

    def _check_leader(self, kind: Kind, what: str, request: Request) -> None:
        lease = self._store.get(LEASES, KAGENTI.namespace, KAGENTI.lease)
        holder = lease["spec"].get("holderIdentity") if lease else None
        if self._elects and holder != request.process.identity:
            self.report(
                "one writer",
                f"{request.process} wrote ({what} {kind.kind} {request.path}) in the term of {holder}",
            )

    def _check_rights(self, namespace: str, name: str) -> None:
        binding = self._store.get(ROLE_BINDINGS, namespace, name)
        if binding is None:
            return
        if name == COLLECTOR_BINDING:
            self._check_collector(namespace, binding)
            return
        role = self._store.get(ROLES, namespace, binding["roleRef"]["name"])
        for subject in binding.get("subjects") or ():
            for experiment in _granted(role):
                right = Right(namespace, subject["name"], experiment)
                self._granted.add(right)
                if subject.get("namespace") != namespace or not self._is_desired(right):
                    self.report("rights", f"{right} is granted by {name}, and was never wanted")

    def _check_granted(self, kind: Kind, namespace: str, name: str) -> None:
        """Access comes before its use."""
        found = self._store.get(kind, namespace, name)
        experiment = experiment_of(found) if found else None
        if found and experiment and Right(namespace, account_of(found), experiment) not in self._granted:
            self.report("access before use", f"{kind.kind} {namespace}/{name} may not use {experiment} yet")

    def _check_collector(self, namespace: str, binding: Object) -> None:
        wanted = {MLFLOW_NAMESPACE, self._workspace, *(agent[0] for agent in self._agents)}
        for subject in binding.get("subjects") or ():
            where, account = subject.get("namespace"), subject["name"]
            if (
                namespace not in wanted
                or where != KAGENTI.namespace
                or account not in self._collector_accounts
            ):
                self.report("rights", f"the collector's access in {namespace} is given to {where}/{account}")

    def _check_revoked(self, kind: Kind, namespace: str, name: str) -> None:
        """What an agent was granted stays while it is served; so does what the collector needs for it."""
        agent = KAGENTI.workload_of_role(name)
        if agent is None and self._removed:
            return
        for key, since in self._served.items():
            _, where, who = key
            if where != namespace or agent not in (None, who):
                continue
            # That it was ever something else may be what the operator heard last.
            always = agent is not None and key not in self._interrupted
            if always or self._clock() - since > self._staleness:
                self.report("revoked on doubt", f"{kind.kind} {namespace}/{name}, though {who} is served")


def is_served(obj: Object) -> bool:
    meta: Mapping[str, Any] = obj["metadata"]
    labels: Object = meta.get("labels") or {}
    annotations: Object = meta.get("annotations") or {}
    return labels.get(_LABEL) == _AGENT and annotations.get(_INJECT) not in OPT_OUT_WORDS


def account_of(obj: Object) -> str:
    return template_of(obj)["spec"].get("serviceAccountName") or "default"


def experiment_of(obj: Object) -> str | None:
    """The experiment that a workload's client is given."""
    for container in template_of(obj)["spec"]["containers"]:
        for variable in container.get("env") or ():
            if variable["name"] == NAME_VARIABLE:
                return variable.get("value")
    return None


def _granted(role: Object | None) -> Iterator[str]:
    """The names of experiments, and a description of whatever else a Role grants."""
    for rule in (role or {}).get("rules") or ():
        names = rule.get("resourceNames")
        if names and rule.get("resources") == [EXPERIMENTS]:
            yield from names
        else:
            yield f"<{rule}>"


def is_ours(obj: Object) -> bool:
    """Whether the operator wrote it."""
    labels: Object = obj["metadata"].get("labels") or {}
    return labels.get(MANAGED_BY_LABEL) == KAGENTI.manager
