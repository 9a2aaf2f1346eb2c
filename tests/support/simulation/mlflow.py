"""A stand-in for MLflow's REST API, as far as the operator asks it, as a peer of the network."""

import asyncio
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import msgspec

from kagenti_operator.contract import EXPERIMENTS_PATH, WORKSPACE_HEADER
from tests.support.simulation import faults as f
from tests.support.simulation.faults import Faults, Verdict, deliver
from tests.support.simulation.loop import WORLD
from tests.support.simulation.wire import Reply, Request, to_json

# Recognizable wherever they are copied to, as creation times are.
FIRST_ID = 770_000_000_001
FIRST_TIME = 1_767_000_000_001


@dataclass(slots=True)
class Record:
    """One experiment."""

    id: str
    workspace: str
    name: str
    created: int
    stage: str = "active"

    def to_wire(self) -> Mapping[str, Any]:
        return {
            "experiment_id": self.id,
            "name": self.name,
            "lifecycle_stage": self.stage,
            "creation_time": self.created,
        }


class _Refused(Exception):
    def __init__(self, status: int, code: str, message: str) -> None:
        super().__init__(message)
        self.status = status
        self.code = code


class MLflowServer:
    """Experiments by workspace. `is_token`: whether a bearer token is one that MLflow may be shown."""

    def __init__(self, faults: Faults, is_token: Callable[[str], bool]) -> None:
        self.experiments: dict[str, Record] = {}
        self.requests = 0
        # Tokens that came and should not have.
        self.strange_tokens: set[str] = set()
        self._faults = faults
        self._is_token = is_token

    def named(self, workspace: str, name: str) -> Record | None:
        return next(
            (it for it in self.experiments.values() if (it.workspace, it.name) == (workspace, name)), None
        )

    def arrive(self, request: Request) -> None:
        self.requests += 1
        verdict = self._faults.judge(request, "", f.MLFLOW)
        match verdict.what:
            case f.HANG:
                return
            case f.LOSE_REQUEST:
                request.line.cut()
            case f.REFUSE:
                request.line.send(_refuse(verdict).encode())
            case _:
                loop = asyncio.get_running_loop()
                loop.call_later(verdict.before, self._carry_out, request, verdict, context=WORLD)

    def _carry_out(self, request: Request, verdict: Verdict) -> None:
        try:
            reply = Reply(200, to_json(self._answer(request)))
        except _Refused as refused:
            body = {"error_code": refused.code, "message": str(refused)}
            reply = Reply(refused.status, to_json(body))
        deliver(request, reply, verdict)

    def _answer(self, request: Request) -> Mapping[str, Any]:
        token = request.headers.get("authorization", "").removeprefix("Bearer ")
        _, found, action = request.path.partition(f"{EXPERIMENTS_PATH}/")
        if not found:
            status = 401 if request.path.endswith("/v1/traces") else 404
            raise _Refused(status, "UNAUTHENTICATED", "no token")
        if not self._is_token(token):
            self.strange_tokens.add(token)
        workspace = request.headers.get(WORKSPACE_HEADER, "")
        given: Mapping[str, str] = msgspec.json.decode(request.body) if request.body else request.query
        match action:
            case "create":
                return {"experiment_id": self._create(workspace, given["name"]).id}
            case "get-by-name":
                record = self.named(workspace, given["experiment_name"])
            case "get":
                record = self._find(workspace, given["experiment_id"])
            case "restore":
                record = self._find(workspace, given["experiment_id"])
                if record is None or record.stage != "deleted":
                    raise _Refused(404, "RESOURCE_DOES_NOT_EXIST", "No such deleted experiment")
                record.stage = "active"
                return {}
            case _:
                raise _Refused(404, "ENDPOINT_NOT_FOUND", action)
        if record is None:
            raise _Refused(404, "RESOURCE_DOES_NOT_EXIST", "No such experiment")
        return {"experiment": record.to_wire()}

    def _find(self, workspace: str, experiment_id: str) -> Record | None:
        record = self.experiments.get(experiment_id)
        return record if record and record.workspace == workspace else None

    def _create(self, workspace: str, name: str) -> Record:
        if self.named(workspace, name):
            raise _Refused(400, "RESOURCE_ALREADY_EXISTS", f"Experiment {name} already exists")
        number = len(self.experiments)
        record = Record(str(FIRST_ID + number), workspace, name, FIRST_TIME + number)
        self.experiments[record.id] = record
        return record


def _refuse(verdict: Verdict) -> Reply:
    if verdict.status == 200:
        return Reply(200, b"<html>Log in</html>", {"Content-Type": "text/html"})
    headers = {"Retry-After": "3"} if verdict.status in (429, 503) else {}
    return Reply(verdict.status, to_json({"error_code": "DICE", "message": "refused by dice"}), headers)
