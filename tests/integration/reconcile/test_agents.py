"""Every agent's own experiment, on a real API server and with a real MLflow."""

from kagenti_devcluster.testing.platform import Platform, always, eventually, workload_path
from kagenti_operator.controllers.agents.tracking_endpoint import SETTLE_SECONDS
from tests.support.agents import (
    MLFLOW_ONLY,
    binding_path,
    environment,
    expect_configured,
    expect_granted,
    expect_released,
)
from tests.support.mlflow import MLflow
from tests.support.operator_process import StartOperator


async def test_an_agent_gets_access_first_and_then_everything_in_one_write(
    start_with_mlflow: StartOperator, platform: Platform, mlflow: MLflow, team: str
) -> None:
    await platform.managed_and_ready(mlflow.url)
    start_with_mlflow(features=MLFLOW_ONLY)
    before = await platform.workload(team, "weather", pod={"serviceAccountName": "weather-sa"})
    after = await expect_configured(platform, mlflow, team, "weather")
    assert after["metadata"]["generation"] == before["metadata"]["generation"] + 1
    role = await expect_granted(platform, team, "weather", "weather", "weather-sa")
    assert int(role["metadata"]["resourceVersion"]) < int(after["metadata"]["resourceVersion"])
    assert [owner["uid"] for owner in role["metadata"]["ownerReferences"]] == [after["metadata"]["uid"]]

    async def untouched() -> None:
        now = await platform.get(workload_path(team, "weather"))
        assert now is not None
        assert now["metadata"]["generation"] == after["metadata"]["generation"]

    await always(untouched, seconds=3)


async def test_a_statefulset_is_an_agent_like_any_other(
    start_with_mlflow: StartOperator, platform: Platform, mlflow: MLflow, team: str
) -> None:
    await platform.managed_and_ready(mlflow.url)
    start_with_mlflow(features=MLFLOW_ONLY)
    await platform.workload(team, "news", kind="StatefulSet")
    await expect_configured(platform, mlflow, team, "news", kind="StatefulSet")
    await expect_granted(platform, team, "news", "news", "default")


async def test_removing_the_label_takes_everything_of_ours_and_keeps_the_data(
    start_with_mlflow: StartOperator, platform: Platform, mlflow: MLflow, team: str
) -> None:
    await platform.managed_and_ready(mlflow.url)
    start_with_mlflow(features=MLFLOW_ONLY)
    await platform.workload(team, "weather", env=[{"name": "THEIRS", "value": "kept"}])
    await expect_configured(platform, mlflow, team, "weather")
    await platform.patch(workload_path(team, "weather"), {"metadata": {"labels": {"kagenti.io/type": None}}})
    released = await expect_released(platform, team, "weather")
    assert environment(released) == {"THEIRS": "kept"}
    experiment = await mlflow.experiment(team, "weather")
    assert experiment is not None
    assert experiment["lifecycle_stage"] == "active"


async def test_a_label_removed_while_the_operator_is_away_is_noticed_later(
    start_with_mlflow: StartOperator, platform: Platform, mlflow: MLflow, team: str
) -> None:
    await platform.managed_and_ready(mlflow.url)
    first = start_with_mlflow(features=MLFLOW_ONLY)
    await platform.workload(team, "weather")
    await expect_configured(platform, mlflow, team, "weather")
    first.stop()
    await platform.patch(workload_path(team, "weather"), {"metadata": {"labels": {"kagenti.io/type": None}}})
    start_with_mlflow(features=MLFLOW_ONLY)
    await expect_released(platform, team, "weather")


async def test_opting_out_later_is_like_removing_the_label(
    start_with_mlflow: StartOperator, platform: Platform, mlflow: MLflow, team: str
) -> None:
    await platform.managed_and_ready(mlflow.url)
    start_with_mlflow(features=MLFLOW_ONLY)
    await platform.workload(team, "weather")
    await expect_configured(platform, mlflow, team, "weather")
    opted_out = {"metadata": {"annotations": {"mlflow.kagenti.io/inject": "disabled"}}}
    await platform.patch(workload_path(team, "weather"), opted_out)
    await expect_released(platform, team, "weather")
    back = {"metadata": {"annotations": {"mlflow.kagenti.io/inject": None}}}
    await platform.patch(workload_path(team, "weather"), back)
    await expect_configured(platform, mlflow, team, "weather")


async def test_a_variable_of_the_user_wins_and_an_event_says_so(
    start_with_mlflow: StartOperator, platform: Platform, mlflow: MLflow, team: str
) -> None:
    await platform.managed_and_ready(mlflow.url)
    start_with_mlflow(features=MLFLOW_ONLY)
    await platform.workload(team, "weather", env=[{"name": "MLFLOW_TRACKING_URI", "value": "http://mine"}])

    async def told() -> None:
        events = [e for e in await platform.events(team, "weather") if e["reason"] == "MLflowVariablesKept"]
        assert len(events) == 1
        assert "MLFLOW_TRACKING_URI" in events[0]["note"]
        workload = await platform.get(workload_path(team, "weather"))
        assert workload is not None
        # Another server than ours is not sent the token of the pod.
        assert environment(workload) == {"MLFLOW_TRACKING_URI": "http://mine"}

    await eventually(told)
    container = {"name": "weather", "image": "example.org/agent:1"}
    without = {"spec": {"template": {"spec": {"containers": [container]}}}}
    await platform.patch(workload_path(team, "weather"), without)
    await expect_configured(platform, mlflow, team, "weather")


async def test_a_container_and_an_account_that_come_later_are_followed(
    start_with_mlflow: StartOperator, platform: Platform, mlflow: MLflow, team: str
) -> None:
    await platform.managed_and_ready(mlflow.url)
    start_with_mlflow(features=MLFLOW_ONLY)
    await platform.workload(team, "weather")
    await expect_configured(platform, mlflow, team, "weather")
    change = [
        {
            "op": "add",
            "path": "/spec/template/spec/containers/-",
            "value": {"name": "late", "image": "example.org/late:1"},
        },
        {"op": "add", "path": "/spec/template/spec/serviceAccountName", "value": "other"},
    ]
    await platform.request(
        "PATCH", workload_path(team, "weather"), change, content_type="application/json-patch+json"
    )
    configured = await expect_configured(platform, mlflow, team, "weather")
    assert len(configured["spec"]["template"]["spec"]["containers"]) == 2
    await expect_granted(platform, team, "weather", "weather", "other")


async def test_an_experiment_deleted_in_mlflow_is_restored_without_a_roll(
    start_with_mlflow: StartOperator, platform: Platform, mlflow: MLflow, team: str
) -> None:
    await platform.managed_and_ready(mlflow.url)
    start_with_mlflow(features=MLFLOW_ONLY)
    await platform.workload(team, "weather")
    before = await expect_configured(platform, mlflow, team, "weather")
    experiment = await mlflow.experiment(team, "weather")
    assert experiment is not None
    await mlflow.delete(team, experiment["experiment_id"])

    async def restored() -> None:
        found = await mlflow.experiment(team, "weather")
        assert found is not None
        assert found["lifecycle_stage"] == "active"
        assert found["experiment_id"] == experiment["experiment_id"]

    await eventually(restored)
    after = await platform.get(workload_path(team, "weather"))
    assert after is not None
    assert after["metadata"]["generation"] == before["metadata"]["generation"]


async def test_an_experiment_renamed_in_mlflow_keeps_its_agent(
    start_with_mlflow: StartOperator, platform: Platform, mlflow: MLflow, team: str
) -> None:
    await platform.managed_and_ready(mlflow.url)
    start_with_mlflow(features=MLFLOW_ONLY)
    await platform.workload(team, "weather")
    before = await expect_configured(platform, mlflow, team, "weather")
    experiment_id = environment(before)["MLFLOW_EXPERIMENT_ID"]
    assert experiment_id is not None
    await mlflow.rename(team, experiment_id, "renamed")
    # MLflow's authorization goes on checking the former name for a minute.
    await expect_granted(platform, team, "weather", ["renamed", "weather"], "default")
    after = await expect_configured(platform, mlflow, team, "weather", experiment="renamed")
    assert environment(after)["MLFLOW_EXPERIMENT_ID"] == experiment_id


async def test_another_tracking_uri_is_followed_and_an_absence_of_mlflow_is_not(
    start_with_mlflow: StartOperator, platform: Platform, mlflow: MLflow, team: str
) -> None:
    await platform.managed_and_ready(mlflow.url)
    start_with_mlflow(features=MLFLOW_ONLY)
    await platform.workload(team, "weather")
    before = await expect_configured(platform, mlflow, team, "weather")
    await platform.set_mlflow_status(available=False, address=None)

    async def unchanged() -> None:
        now = await platform.get(workload_path(team, "weather"))
        assert now is not None
        assert now["metadata"]["generation"] == before["metadata"]["generation"]

    await always(unchanged, seconds=2)
    await platform.set_mlflow_status(address=mlflow.url, url="https://gateway.example/mlflow")

    async def moved() -> None:
        now = await platform.get(workload_path(team, "weather"))
        assert now is not None
        assert environment(now)["MLFLOW_TRACKING_URI"] == "https://gateway.example/mlflow"
        assert now["metadata"]["generation"] == before["metadata"]["generation"] + 1

    # It has to last before agents are rolled for it.
    await eventually(moved, seconds=2 * SETTLE_SECONDS)


async def test_two_kinds_of_one_name_share_a_role_until_one_goes(
    start_with_mlflow: StartOperator, platform: Platform, mlflow: MLflow, team: str
) -> None:
    await platform.managed_and_ready(mlflow.url)
    start_with_mlflow(features=MLFLOW_ONLY)
    await platform.workload(team, "twin", pod={"serviceAccountName": "one"})
    await platform.workload(team, "twin", kind="StatefulSet", pod={"serviceAccountName": "two"})

    async def shared() -> None:
        binding = await platform.get(binding_path(team, "twin"))
        assert binding is not None
        assert [subject["name"] for subject in binding["subjects"]] == ["one", "two"]

    await eventually(shared)
    await platform.delete(workload_path(team, "twin"))
    await expect_granted(platform, team, "twin", "twin", "two")
