"""What the client sends, in which order, and what it does when the server misbehaves."""

import random
from collections.abc import AsyncGenerator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from trustme import CA

from kagenti_devcluster.cluster.pki import serving_context
from kagenti_operator.http.retry import RetryPolicy
from kagenti_operator.kube.auth.rotation import FixedToken
from kagenti_operator.mlflow.client import Experiment, MLflowClient
from kagenti_operator.mlflow.errors import MLflowError, MLflowUnreachable, MLflowUntrusted
from tests.support.misbehaving_server import Answer, HangUp, Server, Silence, serving

pytestmark = pytest.mark.virtual_time

CREATED = Answer(
    body={
        "experiment_id": "7",
        # Which creating one does not say, and what is asked next is answered with.
        "experiment": {"experiment_id": "7", "name": "weather", "creation_time": 1},
    }
)
TAKEN = Answer(400, {"error_code": "RESOURCE_ALREADY_EXISTS", "message": "taken"})
ABSENT = Answer(404, {"error_code": "RESOURCE_DOES_NOT_EXIST", "message": "No Experiment with id=7 exists"})
REFUSED = Answer(403, {"error": {"code": "PERMISSION_DENIED", "message": "Permission denied."}})


def found(stage: str, name: str = "weather") -> Answer:
    experiment = {"experiment_id": "7", "name": name, "lifecycle_stage": stage, "creation_time": 1}
    return Answer(body={"experiment": experiment})


@asynccontextmanager
async def client(
    *,
    token: str = "token",
    ca_files: Sequence[Path] = (),
    policy: RetryPolicy | None = None,
) -> AsyncGenerator[MLflowClient]:
    mlflow = MLflowClient(token=FixedToken(token), rng=random.Random(1), ca_files=ca_files, policy=policy)
    try:
        yield mlflow
    finally:
        await mlflow.close()


async def ensure(server: Server, workspace: str | None = "team1") -> Experiment:
    async with client() as mlflow:
        return await mlflow.ensure_experiment(server.url, workspace, "weather")


# --- what is sent -------------------------------------------------------------------------------------


async def test_an_experiment_is_created_in_its_workspace_with_the_token() -> None:
    async with serving(CREATED) as server:
        experiment = await ensure(server)
    assert experiment == Experiment(id="7", name="weather", creation_time=1)
    asked, shown = server.asked
    assert (shown.method, shown.query) == ("GET", {"experiment_id": "7"})
    assert (asked.method, asked.path) == ("POST", "/api/2.0/mlflow/experiments/create")
    assert asked.body == {"name": "weather"}
    assert asked.headers["Authorization"] == "Bearer token"
    assert asked.headers["x-mlflow-workspace"] == "team1"


async def test_without_a_workspace_the_header_is_left_out() -> None:
    async with serving(CREATED) as server:
        await ensure(server, workspace=None)
    assert "x-mlflow-workspace" not in server.asked[0].headers


async def test_a_path_in_the_base_url_is_kept() -> None:
    async with serving(CREATED) as server, client() as mlflow:
        await mlflow.ensure_experiment(f"{server.url}/mlflow", "team1", "weather")
    assert server.asked[0].path == "/mlflow/api/2.0/mlflow/experiments/create"


async def test_the_token_is_asked_for_again_on_every_try() -> None:
    class Rotating(FixedToken):
        async def prepare(self) -> None:
            self._token = {None: "first", "first": "second\n"}.get(self._token, "third")

    async with serving(Answer(503), CREATED) as server:
        mlflow = MLflowClient(token=Rotating(None), rng=random.Random(1))
        await mlflow.ensure_experiment(server.url, "team1", "weather")
        await mlflow.close()
    assert [asked.headers["Authorization"] for asked in server.asked] == [
        "Bearer first",
        "Bearer second",
        "Bearer third",
    ]


async def test_a_token_that_is_refused_is_rejected() -> None:
    class Watched(FixedToken):
        rejections = 0

        def reject(self) -> None:
            self.rejections += 1

    token = Watched("token")
    async with serving(REFUSED, Answer(401, {"error": {"code": "UNAUTHENTICATED"}})) as server:
        mlflow = MLflowClient(token=token, rng=random.Random(1))
        for expected in (0, 1):
            with pytest.raises(MLflowError):
                await mlflow.ensure_experiment(server.url, "team1", "weather")
            assert token.rejections == expected
        await mlflow.close()


async def test_names_are_sent_as_they_are() -> None:
    name = "weather & more?#/ü"
    async with serving(TAKEN, found("active", name)) as server, client() as mlflow:
        assert (await mlflow.ensure_experiment(server.url, "team1", name)).name == name
    assert server.asked[1].query == {"experiment_name": name}


# --- the order of calls -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("steps", "calls"),
    [
        ([CREATED], ["create", "get"]),
        ([TAKEN, found("active")], ["create", "get-by-name"]),
        ([TAKEN, found("deleted"), Answer()], ["create", "get-by-name", "restore"]),
        # Purged between being refused and being looked for.
        ([TAKEN, ABSENT, CREATED], ["create", "get-by-name", "create", "get"]),
        # Restored by somebody else.
        (
            [TAKEN, found("deleted"), ABSENT, TAKEN, found("active")],
            ["create", "get-by-name", "restore", "create", "get-by-name"],
        ),
        # Purged from the trash.
        (
            [TAKEN, found("deleted"), ABSENT, CREATED],
            ["create", "get-by-name", "restore", "create", "get"],
        ),
        # Purged since it was made.
        ([CREATED, ABSENT, CREATED], ["create", "get", "create", "get"]),
        # Created, but the answer was lost.
        ([HangUp(), TAKEN, found("active")], ["create", "create", "get-by-name"]),
    ],
    ids=[
        "absent",
        "there",
        "deleted",
        "purged",
        "restored by others",
        "purged from the trash",
        "purged at once",
        "answer lost",
    ],
)
async def test_the_experiment_is_there_afterwards(steps: list[Answer], calls: list[str]) -> None:
    async with serving(*steps) as server:
        experiment = await ensure(server)
    assert experiment == Experiment(id="7", name="weather", creation_time=1)
    assert server.calls == calls


async def test_somebody_who_never_stops_interfering_is_reported() -> None:
    async with serving(*[TAKEN, ABSENT] * 10) as server:
        with pytest.raises(MLflowError, match="changed by somebody else on each of 5 tries"):
            await ensure(server)


async def test_an_experiment_is_shown_with_its_stage_or_not_at_all() -> None:
    async with serving(found("deleted"), ABSENT) as server, client() as mlflow:
        shown = await mlflow.get_experiment(server.url, "team1", "7")
        assert shown is not None
        assert (shown.name, shown.deleted) == ("weather", True)
        assert await mlflow.get_experiment(server.url, "team1", "7") is None
    assert server.asked[0].query == {"experiment_id": "7"}


async def test_restoring_says_whether_there_was_something_to_restore() -> None:
    async with serving(Answer(), ABSENT) as server, client() as mlflow:
        assert await mlflow.restore_experiment(server.url, "team1", "7")
        assert not await mlflow.restore_experiment(server.url, "team1", "7")
    assert server.asked[0].body == {"experiment_id": "7"}


async def test_a_missing_workspace_is_no_missing_experiment() -> None:
    missing = {
        "error_code": "RESOURCE_DOES_NOT_EXIST",
        "message": "Workspace 'team1' not found in the cluster.",
    }
    async with serving(Answer(404, missing)) as server, client() as mlflow:
        with pytest.raises(MLflowError, match="create 'team1'"):
            await mlflow.get_experiment(server.url, "team1", "7")


# --- trying again -------------------------------------------------------------------------------------


@pytest.mark.parametrize("failure", [Answer(500), Answer(502), Answer(503), Answer(429), HangUp()], ids=str)
async def test_what_may_go_away_is_tried_again_with_growing_waits(failure: Answer) -> None:
    async with serving(failure, failure, failure, CREATED) as server:
        assert (await ensure(server)).id == "7"
    assert server.calls == ["create"] * 4 + ["get"]
    first, second, third, _ = server.waits
    assert 0.25 <= first <= 0.5 <= second <= 1.0 <= third <= 2.0


@pytest.mark.parametrize("status", [400, 401, 403, 404, 409, 422])
async def test_the_rest_is_never_tried_again(status: int) -> None:
    async with serving(Answer(status, {"error_code": "SOME_CODE", "message": "no"})) as server:
        with pytest.raises(MLflowError) as caught:
            await ensure(server)
    assert (caught.value.status, caught.value.retryable) == (status, False)
    assert len(server.asked) == 1
    assert server.waits == []


async def test_retry_after_is_obeyed() -> None:
    async with serving(Answer(429, headers={"Retry-After": "20"}), CREATED) as server:
        await ensure(server)
    waited, _ = server.waits
    assert 20 <= waited < 21


async def test_a_wait_beyond_the_time_limit_is_left_to_the_caller() -> None:
    async with serving(Answer(503, headers={"Retry-After": "3600"})) as server:
        with pytest.raises(MLflowError) as caught:
            await ensure(server)
    assert caught.value.retry_after == 3600
    assert server.waits == []


async def test_all_tries_together_are_bounded() -> None:
    async with serving(Answer(500)) as server:
        with pytest.raises(MLflowError) as caught:
            await ensure(server)
    assert caught.value.retryable
    assert sum(server.waits) <= RetryPolicy().total
    assert len(server.asked) > 5


async def test_the_time_limit_is_one_for_all_calls_of_an_operation() -> None:
    async with serving(Answer(500), TAKEN, Answer(500)) as server:
        with pytest.raises(MLflowError):
            await ensure(server)
    assert server.calls[1:3] == ["create", "get-by-name"]
    assert sum(server.waits) <= RetryPolicy().total


async def test_a_silent_server_is_given_up() -> None:
    policy = RetryPolicy(try_timeout=0.1, total=0)
    async with serving(Silence()) as server, client(policy=policy) as mlflow:
        with pytest.raises(MLflowUnreachable, match=r"within 0\.1 s"):
            await mlflow.ensure_experiment(server.url, "team1", "weather")


async def test_no_server_is_unreachable() -> None:
    async with serving(CREATED) as server:
        pass
    with pytest.raises(MLflowUnreachable, match=f"no answer from {server.url}/api") as caught:
        await ensure(server)
    assert caught.value.retryable
    assert "it cannot be reached: Connection refused. Check the address" in str(caught.value)


async def test_https_to_a_plain_http_port_is_reported_in_words_that_stay_the_same() -> None:
    reported: set[str] = set()
    async with serving(CREATED) as server:
        for _ in range(2):
            async with client() as mlflow:
                address = server.url.replace("http:", "https:")
                with pytest.raises(MLflowUnreachable, match="does not speak TLS as expected") as caught:
                    await mlflow.ensure_experiment(address, "team1", "weather")
            reported.add(str(caught.value))
    # What changes each time would be an Event of its own each time.
    assert len(reported) == 1
    assert "object at" not in reported.pop()


# --- what is not MLflow -------------------------------------------------------------------------------


@pytest.mark.parametrize("body", [b"<html>log in</html>", {"id": 7}, {"experiment_id": 7}, b"\xff"], ids=repr)
async def test_a_success_that_mlflow_would_not_give_is_no_success(body: object) -> None:
    async with serving(Answer(body=body)) as server:
        with pytest.raises(MLflowError, match="check the address") as caught:
            await ensure(server)
    assert caught.value.code == "NOT_MLFLOW"


@pytest.mark.parametrize("mebibytes", [2, 19])
async def test_an_experiment_that_was_filled_with_tags_is_not_read(mebibytes: int) -> None:
    tags = [{"key": f"{number}", "value": "x" * 4096} for number in range(256 * mebibytes)]
    experiment = {"experiment_id": "7", "name": "weather", "lifecycle_stage": "active", "tags": tags}
    async with serving(Answer(body={"experiment": experiment})) as server, client() as mlflow:
        with pytest.raises(MLflowError, match=r"larger than 1 MiB.* remove them") as refused:
            await mlflow.get_experiment(server.url, "team1", "7")
    assert not refused.value.retryable


async def test_a_redirect_to_a_login_page_is_not_followed() -> None:
    async with serving(Answer(302, headers={"Location": "/login"})) as server:
        with pytest.raises(MLflowError, match="login page"):
            await ensure(server)
    assert len(server.asked) == 1


@pytest.mark.parametrize("id_", ["${env:MLFLOW_CLIENT_SECRET}", "7\nx: y", "", "7" * 65])
async def test_an_id_that_no_mlflow_gives_is_not_put_anywhere(id_: str) -> None:
    created = Answer(body={"experiment_id": id_, "experiment": {"experiment_id": id_, "name": "weather"}})
    for answers in ([created], [TAKEN, created]):
        async with serving(*answers) as server:
            with pytest.raises(MLflowError, match="answers what MLflow would not"):
                await ensure(server)


async def test_a_refusal_names_the_right_that_is_missing() -> None:
    async with serving(REFUSED) as server:
        with pytest.raises(MLflowError, match="verb 'create' on experiments"):
            await ensure(server)
    async with serving(TAKEN, found("deleted"), REFUSED) as server:
        with pytest.raises(MLflowError, match="verb 'update'"):
            await ensure(server)


# --- TLS ----------------------------------------------------------------------------------------------


async def test_an_unknown_ca_is_reported_with_the_files_that_were_tried(tmp_path: Path) -> None:
    missing, unusable = tmp_path / "missing.crt", tmp_path / "unusable.crt"
    unusable.write_text("no certificate")
    async with (
        serving(CREATED, tls=serving_context(CA(), "127.0.0.1")) as server,
        client(ca_files=[missing, unusable]) as mlflow,
    ):
        with pytest.raises(MLflowUntrusted) as caught:
            await mlflow.ensure_experiment(server.url, "team1", "weather")
    assert f"{missing} (missing)" in str(caught.value)
    assert f"{unusable} (unusable" in str(caught.value)
    assert "--mlflow-ca-file" in str(caught.value)
    assert server.waits == []


async def test_a_ca_file_that_comes_and_rotates_is_followed(tmp_path: Path) -> None:
    ca_file = tmp_path / "service-ca.crt"
    old, new = CA(), CA()
    async with client(ca_files=[ca_file]) as mlflow:
        async with serving(CREATED, tls=serving_context(old, "127.0.0.1")) as server:
            with pytest.raises(MLflowUntrusted):
                await mlflow.ensure_experiment(server.url, "team1", "weather")
            old.cert_pem.write_to_path(ca_file)
            assert (await mlflow.ensure_experiment(server.url, "team1", "weather")).id == "7"
        async with serving(CREATED, tls=serving_context(new, "127.0.0.1")) as server:
            with pytest.raises(MLflowUntrusted):
                await mlflow.ensure_experiment(server.url, "team1", "weather")
            # As the kubelet does: a new file in the place of the old one.
            new.cert_pem.write_to_path(tmp_path / "next.crt")
            (tmp_path / "next.crt").replace(ca_file)
            assert (await mlflow.ensure_experiment(server.url, "team1", "weather")).id == "7"


@pytest.mark.parametrize(
    ("other", "same"),
    [
        (Experiment(id="7", name="renamed", creation_time=1), True),
        (Experiment(id="7", name="weather", creation_time=2), False),
        (Experiment(id="8", name="weather", creation_time=1), False),
        (Experiment(id="7", name="weather"), True),
        (Experiment(id="7", name="renamed"), False),
    ],
)
def test_an_experiment_is_known_by_id_and_creation_time(other: Experiment, same: bool) -> None:
    experiment = Experiment(id="7", name="weather", creation_time=1)
    assert experiment.is_same(other) == other.is_same(experiment) == same
