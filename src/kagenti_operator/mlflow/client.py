"""MLflow's REST API, as far as the operator needs it: experiments in workspaces.

Paths and order of calls are section 2.4 of the contract. Base URLs are those of `status.rest_url`: without a
trailing slash, with the path under which the server was started, if any.
"""

import random
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec

from kagenti_operator.contract import EXPERIMENTS_PATH
from kagenti_operator.http.retry import RetryPolicy
from kagenti_operator.kube.auth.rotation import TokenSource
from kagenti_operator.mlflow.errors import MLflowError
from kagenti_operator.mlflow.responses import ALREADY_EXISTS, Request, decode_answer, is_absence
from kagenti_operator.mlflow.transport import Observer, Transport

# Others may create, delete and purge the same experiment meanwhile, but nobody does so for ever.
_ROUNDS = 5
_ID = re.compile(r"[\w-]{1,64}", re.ASCII)
# MLflow's own bound is half of it.
_LONGEST_NAME = 1000


class Experiment(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """An experiment as MLflow has it: people may rename it at any time, its id never changes.

    `creation_time`: milliseconds since 1970, None where it is not known. In another database ids begin anew:
    one of the same id and another time is somebody else's.
    """

    id: str = msgspec.field(name="experiment_id")
    name: str
    lifecycle_stage: str = "active"
    creation_time: int | None = None

    @property
    def deleted(self) -> bool:
        """Whether it lies in MLflow's trash, from where it can be restored."""
        return self.lifecycle_stage == "deleted"

    def is_same(self, other: "Experiment") -> bool:
        """Whether that is this experiment; where its time was not known yet, one that has the same name."""
        if self.creation_time is None or other.creation_time is None:
            return (self.id, self.name) == (other.id, other.name)
        return (self.id, self.creation_time) == (other.id, other.creation_time)


def _check_id(experiment_id: str) -> None:
    # It becomes part of headers and environments.
    if not _ID.fullmatch(experiment_id):
        raise ValueError("an experiment's id is of letters and digits")


class _Created(msgspec.Struct):
    experiment_id: str

    def __post_init__(self) -> None:
        _check_id(self.experiment_id)


class _Found(msgspec.Struct):
    experiment: Experiment

    def __post_init__(self) -> None:
        _check_id(self.experiment.id)
        if len(self.experiment.name) > _LONGEST_NAME:
            raise ValueError(f"an experiment's name has no more than {_LONGEST_NAME} characters")


class MLflowClient:
    """Asks MLflow with a token of the cluster; `ca_files` are trusted beside the system's CAs.

    A workspace of None leaves its header out. Every method raises MLflowError, after trying again within
    the policy's limits what may go away by itself; errors of `token` pass through.
    """

    def __init__(
        self,
        *,
        token: TokenSource,
        rng: random.Random,
        ca_files: Sequence[Path] = (),
        policy: RetryPolicy | None = None,
        observer: Observer | None = None,
    ) -> None:
        self._transport = Transport(
            token=token,
            rng=rng,
            ca_files=ca_files,
            policy=policy or RetryPolicy(),
            observer=observer,
        )

    async def ensure_experiment(self, base_url: str, workspace: str | None, name: str) -> Experiment:
        """Create the experiment of that name, find it, or take it out of the trash."""
        calls = self._calls(base_url, workspace)
        for _ in range(_ROUNDS):
            created = await calls.create(name)
            # What creates one does not say when.
            found = await (calls.get(created) if created else calls.get_by_name(name))
            if found is None:
                # Purged or renamed since it was made, or since its name was taken.
                continue
            if not found.deleted:
                return found
            if await calls.restore(found.id):
                return msgspec.structs.replace(found, lifecycle_stage="active")
        raise MLflowError(
            None,
            "CONTENDED",
            f"experiment '{name}' in workspace '{workspace}' was changed by somebody else on each of "
            f"{_ROUNDS} tries to make or find it: see who creates and deletes it",
        )

    async def get_experiment(
        self, base_url: str, workspace: str | None, experiment_id: str
    ) -> Experiment | None:
        """The experiment with that id, deleted or not; None where the workspace has none (any more)."""
        return await self._calls(base_url, workspace).get(experiment_id)

    async def restore_experiment(self, base_url: str, workspace: str | None, experiment_id: str) -> bool:
        """Take an experiment out of the trash; False where it does not lie there."""
        return await self._calls(base_url, workspace).restore(experiment_id)

    async def ask_for_otlp(self, url: str) -> int:
        """The status code with which MLflow answers no spans, sent there without a token that works."""
        return await self._transport.ask_for_otlp(url)

    async def close(self) -> None:
        """Close all connections."""
        await self._transport.close()

    def _calls(self, base_url: str, workspace: str | None) -> "_Calls":
        return _Calls(self._transport, f"{base_url}{EXPERIMENTS_PATH}", workspace, self._transport.deadline())


@dataclass(frozen=True, slots=True)
class _Calls:
    """The single calls, to one workspace of one server and until one deadline."""

    transport: Transport
    url: str
    workspace: str | None
    deadline: float

    async def create(self, name: str) -> str | None:
        """The id of the new experiment; None where the name is taken, if only by one in the trash."""
        request = self._post("create", f"create experiment '{name}'", "create", {"name": name})
        try:
            body = await self._send(request)
        except MLflowError as error:
            if error.code == ALREADY_EXISTS:
                return None
            raise
        return decode_answer(request, body, _Created).experiment_id

    async def get_by_name(self, name: str) -> Experiment | None:
        """The experiment of that name, deleted or not."""
        return await self._find("get-by-name", f"find experiment '{name}'", {"experiment_name": name})

    async def get(self, experiment_id: str) -> Experiment | None:
        """The experiment with that id, deleted or not."""
        return await self._find("get", f"show experiment {experiment_id}", {"experiment_id": experiment_id})

    async def restore(self, experiment_id: str) -> bool:
        """False where it is not in the trash: restored by somebody else meanwhile, or purged."""
        doing = f"restore experiment {experiment_id}"
        request = self._post("restore", doing, "update", {"experiment_id": experiment_id})
        try:
            await self._send(request)
        except MLflowError as error:
            if is_absence(request, error):
                return False
            raise
        return True

    async def _find(self, action: str, doing: str, params: Mapping[str, str]) -> Experiment | None:
        url = f"{self.url}/{action}"
        request = Request(
            method="GET", url=url, workspace=self.workspace, doing=doing, verb="get", params=params
        )
        try:
            body = await self._send(request)
        except MLflowError as error:
            if is_absence(request, error):
                return None
            raise
        return decode_answer(request, body, _Found).experiment

    def _post(self, action: str, doing: str, verb: str, body: Mapping[str, Any]) -> Request:
        url = f"{self.url}/{action}"
        return Request(method="POST", url=url, workspace=self.workspace, doing=doing, verb=verb, body=body)

    async def _send(self, request: Request) -> bytes:
        return await self.transport.send(request, self.deadline)
