"""Who acts in a cluster beside the operator and people: garbage collector, rollouts, MLflow's operator."""

import asyncio
import random
from collections.abc import Callable
from typing import Any

from tests.support.simulation.kinds import (
    BY_NAME,
    DEPLOYMENTS,
    KINDS,
    MLFLOWS,
    NAMESPACES,
    STATEFUL_SETS,
    Kind,
)
from tests.support.simulation.loop import WORLD
from tests.support.simulation.merge import Object, copy
from tests.support.simulation.store import Change, Refusal, Store

ADDRESS = "https://mlflow.redhat-ods-applications.svc:8443"


class StandIns:
    """They follow the store, and act some moments later."""

    def __init__(self, store: Store, dice: random.Random, now: Callable[[], str]) -> None:
        self._store = store
        self._dice = dice
        self._now = now
        # Where MLflow's operator says that MLflow is; None while it is not available.
        self.mlflow_address: str | None = ADDRESS
        store.observers.append(self._follow)

    def _later(self, longest: float, act: Callable[..., object], *args: Any) -> None:
        seconds = longest * (0.2 + 0.8 * self._dice.random())
        asyncio.get_running_loop().call_later(seconds, act, *args, context=WORLD)

    def _follow(self, change: Change) -> None:
        kind, after = change.kind, change.after
        if kind in (DEPLOYMENTS, STATEFUL_SETS) and after is not None:
            if after.get("status", {}).get("observedGeneration") != after["metadata"]["generation"]:
                self._later(5.0, self._roll, kind, *_key(after))
        elif kind is MLFLOWS and after is not None and "status" not in after:
            self._later(8.0, self.report_mlflow)
        elif kind is NAMESPACES and after is not None and after["metadata"].get("deletionTimestamp"):
            self._later(3.0, self._store.finish_namespace, after["metadata"]["name"])
        owners = change.object["metadata"].get("ownerReferences") or ()
        if change.after is None:
            self._later(2.0, self._collect, change.object["metadata"]["uid"])
        elif owners:
            for owner in owners:
                if not self._store.knows_uid(owner["uid"]):
                    self._later(2.0, self._collect, owner["uid"])

    def _roll(self, kind: Kind, namespace: str, name: str) -> None:
        """All pods of a workload are replaced at once."""
        found = self._store.get(kind, namespace, name)
        if found is None:
            return
        wanted = found["spec"].get("replicas", 1)
        status = {
            "observedGeneration": found["metadata"]["generation"],
            "replicas": wanted,
            "updatedReplicas": wanted,
            "availableReplicas": wanted,
        }
        self._store.set_status(kind, found, status)

    def report_mlflow(self) -> None:
        """MLflow's operator writes the CR's status."""
        found = self._store.get(MLFLOWS, "", "mlflow")
        if found is None:
            return
        condition = {
            "type": "Available",
            "status": "True" if self.mlflow_address else "False",
            "lastTransitionTime": self._now(),
        }
        status: Object = {"conditions": [condition], "version": "3.10.0"}
        if self.mlflow_address:
            status["address"] = {"url": self.mlflow_address}
        self._store.set_status(MLFLOWS, found, status)

    def _collect(self, uid: str) -> None:
        """The garbage collector: what only that owned goes, and what others own too is theirs alone."""
        if self._store.knows_uid(uid):
            return
        for kind in KINDS:
            for obj in self._store.all(kind):
                owners: list[Object] = obj["metadata"].get("ownerReferences") or []
                if any(owner["uid"] == uid for owner in owners):
                    self._release(kind, obj, [o for o in owners if self._exists(o, obj)])

    def _exists(self, owner: Object, owned: Object) -> bool:
        kind = BY_NAME.get(owner["kind"])
        if kind is None:
            return False
        namespace = owned["metadata"].get("namespace", "") if kind.namespaced else ""
        found = self._store.get(kind, namespace, owner["name"])
        return found is not None and found["metadata"]["uid"] == owner["uid"]

    def _release(self, kind: Kind, obj: Object, owners: list[Object]) -> None:
        namespace, name = _key(obj)
        try:
            if not owners:
                self._store.delete(kind, namespace, name, obj["metadata"]["uid"])
                return
            body = copy(obj)
            body["metadata"]["ownerReferences"] = owners
            self._store.replace(kind, body, "garbage-collector")
        except Refusal:
            # Somebody was faster.
            return


def _key(obj: Object) -> tuple[str, str]:
    return obj["metadata"].get("namespace", ""), obj["metadata"]["name"]
