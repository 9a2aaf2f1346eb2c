"""Every agent's own experiment, on a real API server and with a real MLflow."""

import pytest

from kagenti_devcluster.testing.platform import Platform, eventually
from tests.support.agents import MLFLOW_ONLY, NO_LABEL, OPT_IN, OPT_OUT, Agents, environment
from tests.support.expectations import expect_event, expect_unchanged
from tests.support.mlflow import MLflow
from tests.support.operator_process import OperatorProcess, StartOperator

pytestmark = pytest.mark.usefixtures("operator")


async def test_an_agent_gets_access_first_and_then_everything_in_one_write(
    agents: Agents, platform: Platform
) -> None:
    before = await agents.create("weather", pod={"serviceAccountName": "weather-sa"})
    after = await agents.expect_configured("weather")
    assert after["metadata"]["generation"] == before["metadata"]["generation"] + 1
    role = await agents.expect_granted("weather", account="weather-sa")
    assert int(role["metadata"]["resourceVersion"]) < int(after["metadata"]["resourceVersion"])
    assert [owner["uid"] for owner in role["metadata"]["ownerReferences"]] == [after["metadata"]["uid"]]
    await expect_unchanged(platform, agents.path("weather"), after, field="generation", seconds=3)


async def test_a_statefulset_is_an_agent_like_any_other(agents: Agents) -> None:
    await agents.create_configured("news", kind="StatefulSet")
    await agents.expect_granted("news")


async def test_removing_the_label_removes_everything_of_ours_and_keeps_the_data(
    agents: Agents, mlflow: MLflow
) -> None:
    await agents.create_configured("weather", env=[{"name": "THEIRS", "value": "kept"}])
    await agents.patch("weather", NO_LABEL)
    released = await agents.expect_released("weather")
    assert environment(released) == {"THEIRS": "kept"}
    experiment = await mlflow.experiment(agents.namespace, "weather")
    assert experiment is not None
    assert experiment["lifecycle_stage"] == "active"


async def test_a_label_removed_while_the_operator_is_down_is_noticed_later(
    agents: Agents, operator: OperatorProcess, start_with_mlflow: StartOperator
) -> None:
    await agents.create_configured("weather")
    operator.stop()
    await agents.patch("weather", NO_LABEL)
    start_with_mlflow(features=MLFLOW_ONLY)
    await agents.expect_released("weather")


async def test_opting_out_later_is_like_removing_the_label(agents: Agents) -> None:
    await agents.create_configured("weather")
    await agents.patch("weather", OPT_OUT)
    await agents.expect_released("weather")
    await agents.patch("weather", OPT_IN)
    await agents.expect_configured("weather")


async def test_people_opt_out_in_their_own_words_and_on_the_pod_template(
    agents: Agents, platform: Platform
) -> None:
    key = "mlflow.kagenti.io/inject"
    before = {
        "says-false": await agents.create("says-false", annotations={key: "false"}),
        "says-disabled": await agents.create("says-disabled", annotations={key: "Disabled"}),
        "on-the-template": await agents.create("on-the-template", pod_annotations={key: "disabled"}),
    }
    await agents.create("says-later", annotations={key: "later"})
    await agents.expect_configured("says-later")
    await expect_event(platform, agents.namespace, "says-later", "MLflowInjectNotUnderstood", "'later'")
    for name, workload in before.items():
        found = await agents.get(name)
        assert found["metadata"]["generation"] == workload["metadata"]["generation"]
        await agents.expect_no_grant(name)


async def test_a_variable_of_the_user_wins_and_an_event_says_so(agents: Agents, platform: Platform) -> None:
    await agents.create("weather", env=[{"name": "MLFLOW_TRACKING_URI", "value": "http://mine"}])
    await expect_event(platform, agents.namespace, "weather", "MLflowVariablesKept", "MLFLOW_TRACKING_URI")
    # Another server than ours is not sent the token of the pod.
    assert environment(await agents.get("weather")) == {"MLFLOW_TRACKING_URI": "http://mine"}
    await agents.patch_pod("weather", containers=[{"name": "weather", "image": "example.org/agent:1"}])
    await agents.expect_configured("weather")


async def test_an_agent_with_credentials_of_another_server_is_left_as_it_is(
    agents: Agents, platform: Platform
) -> None:
    secret = {"secretKeyRef": {"name": "old-server", "key": "token"}}
    before = await agents.create("weather", env=[{"name": "MLFLOW_TRACKING_TOKEN", "valueFrom": secret}])
    reason, kept = "MLflowVariablesKept", "weather/MLFLOW_TRACKING_TOKEN set by the workload itself"
    await expect_event(platform, agents.namespace, "weather", reason, kept)
    await expect_unchanged(platform, agents.path("weather"), before, field="generation", seconds=2)
    # Without it, and with it again.
    await agents.patch_pod("weather", containers=[{"name": "weather", "image": "example.org/agent:1"}])
    await agents.expect_configured("weather")
    token = {"name": "MLFLOW_TRACKING_TOKEN", "value": "x"}
    late = {"spec": {"template": {"spec": {"containers": [{"name": "weather", "env": [token]}]}}}}
    path = agents.path("weather")
    await platform.request("PATCH", path, late, content_type="application/strategic-merge-patch+json")

    async def taken_out() -> None:
        assert environment(await agents.get("weather")) == {"MLFLOW_TRACKING_TOKEN": "x"}

    await eventually(taken_out)


async def test_a_live_manifest_that_is_copied_to_another_namespace_gets_an_experiment_of_there(
    agents: Agents, platform: Platform, mlflow: MLflow
) -> None:
    live = await agents.create_configured("quote")
    there = Agents(platform, mlflow, f"{agents.namespace}-prod")
    await platform.namespace(there.namespace)
    kept = ("name", "labels", "annotations")
    metadata = {key: value for key, value in live["metadata"].items() if key in kept}
    copy = {**live, "metadata": {**metadata, "namespace": there.namespace}}
    copy.pop("status")
    await platform.put(there.path("quote"), copy)
    await there.expect_configured("quote")
    await there.expect_granted("quote")
    await expect_event(platform, there.namespace, "quote", "MLflowConfigured", there.namespace)
    assert "MLflowVariablesKept" not in {e["reason"] for e in await platform.events(there.namespace, "quote")}


async def test_an_agent_that_mounts_no_token_is_reported_as_such_and_not_that_its_traces_go_anywhere(
    agents: Agents, platform: Platform
) -> None:
    await agents.create_configured("librarian", pod={"automountServiceAccountToken": False})
    await expect_event(
        platform, agents.namespace, "librarian", "MLflowNotUsable", "automountServiceAccountToken"
    )
    reasons = {event["reason"] for event in await platform.events(agents.namespace, "librarian")}
    assert "MLflowConfigured" not in reasons
    await agents.patch_pod("librarian", automountServiceAccountToken=True)
    await expect_event(
        platform, agents.namespace, "librarian", "MLflowConfigured", "go to experiment 'librarian'"
    )


async def test_an_event_advises_to_delete_the_pods_that_a_statefulset_does_not_replace(
    agents: Agents, platform: Platform
) -> None:
    strategy = {"type": "OnDelete"}
    await agents.create_configured("ledger", kind="StatefulSet", replicas=1, updateStrategy=strategy)
    await expect_event(
        platform, agents.namespace, "ledger", "MLflowNotRolledOut", "OnDelete: delete its pods"
    )
    reasons = {event["reason"] for event in await platform.events(agents.namespace, "ledger")}
    assert "MLflowConfigured" not in reasons
    ready = {"replicas": 1, "readyReplicas": 1, "updatedReplicas": 1, "availableReplicas": 1}
    status = {"observedGeneration": 99, **ready}
    await platform.patch(f"{agents.path('ledger', 'StatefulSet')}/status", {"status": status})
    await expect_event(platform, agents.namespace, "ledger", "MLflowConfigured", "go to experiment 'ledger'")


@pytest.mark.parametrize("kind", ["Deployment", "StatefulSet"])
async def test_a_container_and_an_account_that_come_later_are_followed(
    agents: Agents, platform: Platform, kind: str
) -> None:
    await agents.create_configured("weather", kind=kind)
    late = {"name": "late", "image": "example.org/late:1"}
    change = [
        {"op": "add", "path": "/spec/template/spec/containers/-", "value": late},
        {"op": "add", "path": "/spec/template/spec/serviceAccountName", "value": "other"},
    ]
    path = agents.path("weather", kind)
    await platform.request("PATCH", path, change, content_type="application/json-patch+json")
    await agents.expect_granted("weather", account="other")
    configured = await agents.expect_configured("weather", kind=kind)
    assert len(configured["spec"]["template"]["spec"]["containers"]) == 2
    await agents.patch("weather", NO_LABEL, kind)
    await agents.expect_released("weather", kind=kind)


async def test_an_experiment_deleted_in_mlflow_is_restored_without_a_rollout(
    agents: Agents, mlflow: MLflow
) -> None:
    before = await agents.create_configured("weather")
    experiment = await mlflow.experiment(agents.namespace, "weather")
    assert experiment is not None
    await mlflow.delete(agents.namespace, experiment["experiment_id"])

    async def restored() -> None:
        found = await mlflow.experiment(agents.namespace, "weather")
        assert found is not None
        assert found["lifecycle_stage"] == "active"
        assert found["experiment_id"] == experiment["experiment_id"]

    await eventually(restored)
    after = await agents.get("weather")
    assert after["metadata"]["generation"] == before["metadata"]["generation"]


async def test_an_experiment_renamed_in_mlflow_keeps_its_agent(agents: Agents, mlflow: MLflow) -> None:
    before = await agents.create_configured("weather")
    experiment_id = environment(before)["MLFLOW_EXPERIMENT_ID"]
    assert experiment_id is not None
    await mlflow.rename(agents.namespace, experiment_id, "renamed")
    # MLflow's authorization goes on checking the former name for a minute.
    await agents.expect_granted("weather", ["renamed", "weather"])
    after = await agents.expect_configured("weather", experiment="renamed")
    assert environment(after)["MLFLOW_EXPERIMENT_ID"] == experiment_id


async def test_two_kinds_of_one_name_share_a_role_until_one_goes(agents: Agents) -> None:
    await agents.create("twin", pod={"serviceAccountName": "one"})
    await agents.create("twin", kind="StatefulSet", pod={"serviceAccountName": "two"})

    async def shared() -> None:
        binding = await agents.binding("twin")
        assert binding is not None
        assert [subject["name"] for subject in binding["subjects"]] == ["one", "two"]

    await eventually(shared)
    await agents.delete("twin")
    await agents.expect_granted("twin", account="two")
