from copy import replace
from typing import Any

import msgspec
import pytest

from kagenti_operator.contract import KAGENTI, ROSSOCTL
from kagenti_operator.controllers.agents.access import build_access, recorded_experiment
from kagenti_operator.controllers.agents.injection import (
    Injection,
    InjectionPlan,
    build_removal,
    has_own_server,
    is_marked,
    is_opted_out,
    is_owned_by_others,
    plan_injection,
    unknown_inject_values,
)
from kagenti_operator.controllers.agents.keys import AgentKey
from kagenti_operator.kube.objects.agents import AgentSandbox, AgentWorkload
from kagenti_operator.kube.objects.rbac import Role
from kagenti_operator.kube.resources import AGENT_DEPLOYMENTS, AGENT_SANDBOXES
from kagenti_operator.mlflow.client import Experiment
from kagenti_operator.runtime.control.applier import differs

from .workloads import EXPERIMENT, INJECTION, KEY, build_agent, environment, grantee


def names_applied(plan: InjectionPlan, container: int = 0) -> list[str]:
    assert plan.body is not None
    return [e["name"] for e in plan.body["spec"]["template"]["spec"]["containers"][container]["env"]]


def configured(*extra: dict[str, object], values: Injection = INJECTION) -> AgentWorkload:
    agent = {"name": "agent", "env": environment(values)}
    return build_agent(agent, *extra, annotations=values.annotations(KAGENTI))


def test_a_configured_agent_is_never_touched() -> None:
    assert plan_injection(KAGENTI, configured(), AGENT_DEPLOYMENTS, INJECTION).body is None


def test_a_container_added_later_gets_its_environment() -> None:
    plan = plan_injection(KAGENTI, configured({"name": "late"}), AGENT_DEPLOYMENTS, INJECTION)
    assert plan.body is not None
    assert plan.body["spec"]["template"]["spec"]["containers"] == [
        {"name": "agent", "env": environment()},
        {"name": "late", "env": environment()},
    ]


def test_a_variable_that_the_user_set_wins() -> None:
    theirs: dict[str, Any] = {"name": "agent", "env": [{"name": "MLFLOW_EXPERIMENT_NAME", "value": "mine"}]}
    plan = plan_injection(KAGENTI, build_agent(theirs), AGENT_DEPLOYMENTS, INJECTION)
    assert plan.kept == ("agent/MLFLOW_EXPERIMENT_NAME",)
    # The client refuses an id that does not belong to the name.
    assert plan.left_out == ("agent/MLFLOW_EXPERIMENT_ID",)
    assert names_applied(plan) == ["MLFLOW_TRACKING_URI", "MLFLOW_TRACKING_AUTH", "MLFLOW_WORKSPACE"]


def test_a_server_of_the_users_own_gets_neither_our_token_nor_our_experiment() -> None:
    theirs: dict[str, Any] = {"name": "agent", "env": [{"name": "MLFLOW_TRACKING_URI", "value": "http://x"}]}
    plan = plan_injection(KAGENTI, build_agent(theirs, {"name": "proxy"}), AGENT_DEPLOYMENTS, INJECTION)
    assert plan.kept == ("agent/MLFLOW_TRACKING_URI",)
    assert len(plan.left_out) == 4
    assert names_applied(plan) == []
    assert len(names_applied(plan, container=1)) == 5


def test_what_was_left_out_comes_when_the_users_variable_goes() -> None:
    annotations = {
        **INJECTION.annotations(KAGENTI),
        "mlflow.kagenti.io/left-out": "agent/MLFLOW_EXPERIMENT_ID",
    }
    plan = plan_injection(KAGENTI, build_agent(annotations=annotations), AGENT_DEPLOYMENTS, INJECTION)
    assert len(names_applied(plan)) == 5
    assert plan.body is not None
    assert plan.body["spec"]["template"]["metadata"]["annotations"] == INJECTION.annotations(KAGENTI)


def test_a_variable_from_a_secret_wins() -> None:
    theirs: dict[str, Any] = {
        "name": "agent",
        "env": [{"name": "MLFLOW_TRACKING_URI", "valueFrom": {"secretKeyRef": {}}}],
    }
    assert plan_injection(KAGENTI, build_agent(theirs), AGENT_DEPLOYMENTS, INJECTION).kept == (
        "agent/MLFLOW_TRACKING_URI",
    )


def test_a_variable_that_the_user_changes_after_us_wins_without_another_roll() -> None:
    env = [e if e["name"] != "MLFLOW_TRACKING_AUTH" else {**e, "value": "mine"} for e in environment()]
    changed = build_agent({"name": "agent", "env": env}, annotations=INJECTION.annotations(KAGENTI))
    plan = plan_injection(KAGENTI, changed, AGENT_DEPLOYMENTS, INJECTION)
    assert plan.kept == ("agent/MLFLOW_TRACKING_AUTH",)
    assert plan.body is None


def test_a_server_that_the_user_names_after_us_takes_ours_out() -> None:
    env = [e if e["name"] != "MLFLOW_TRACKING_URI" else {**e, "value": "http://mine"} for e in environment()]
    changed = build_agent({"name": "agent", "env": env}, annotations=INJECTION.annotations(KAGENTI))
    plan = plan_injection(KAGENTI, changed, AGENT_DEPLOYMENTS, INJECTION)
    assert plan.nothing_left
    assert plan.kept == ("agent/MLFLOW_TRACKING_URI",)


@pytest.mark.parametrize(
    "name", ["MLFLOW_TRACKING_TOKEN", "MLFLOW_TRACKING_USERNAME", "MLFLOW_TRACKING_PASSWORD"]
)
@pytest.mark.parametrize("given", [{"value": "x"}, {"valueFrom": {"secretKeyRef": {"name": "old"}}}])
def test_beside_credentials_of_the_users_nothing_of_ours_goes(name: str, given: dict[str, Any]) -> None:
    container: dict[str, Any] = {"name": "agent", "env": [{"name": name, **given}]}
    agent = build_agent(container)
    plan = plan_injection(KAGENTI, agent, AGENT_DEPLOYMENTS, INJECTION)
    assert plan.body is None
    assert plan.nothing_left
    assert plan.kept == (f"agent/{name}",)
    assert has_own_server(agent)
    # Another container of the same pod has none.
    beside = build_agent(container, {"name": "helper"})
    plan = plan_injection(KAGENTI, beside, AGENT_DEPLOYMENTS, INJECTION)
    assert names_applied(plan) == []
    assert len(names_applied(plan, container=1)) == 5
    assert not has_own_server(beside)


def test_what_we_put_in_counts_as_no_server_of_the_users_own() -> None:
    assert not has_own_server(configured())


def with_ca(injection: Injection = INJECTION) -> Injection:
    return replace(injection, tracking_uri="https://mlflow.opendatahub.svc:8443", service_ca=True)


def test_beside_an_address_of_the_service_ca_the_client_is_given_the_ca() -> None:
    plan = plan_injection(KAGENTI, build_agent(), AGENT_DEPLOYMENTS, with_ca())
    assert plan.body is not None
    (container,) = plan.body["spec"]["template"]["spec"]["containers"]
    ca = "/var/run/secrets/kubernetes.io/serviceaccount/service-ca.crt"
    assert container["env"][-1] == {"name": "MLFLOW_TRACKING_SERVER_CERT_PATH", "value": ca}
    assert "MLFLOW_TRACKING_SERVER_CERT_PATH" not in INJECTION.environment()


def test_a_ca_that_the_user_set_is_kept_and_nothing_to_report() -> None:
    env = [{"name": "MLFLOW_TRACKING_SERVER_CERT_PATH", "value": "/etc/mine.pem"}]
    plan = plan_injection(KAGENTI, build_agent({"name": "agent", "env": env}), AGENT_DEPLOYMENTS, with_ca())
    assert "MLFLOW_TRACKING_SERVER_CERT_PATH" not in names_applied(plan)
    assert len(names_applied(plan)) == 5
    assert plan.kept == plan.left_out == ()


@pytest.mark.parametrize(
    ("given", "expected"),
    [({"value": "true"}, False), ({"valueFrom": {}}, False), ({"value": "false"}, True)],
)
def test_the_client_refuses_a_ca_where_it_is_not_to_verify(given: dict[str, Any], expected: bool) -> None:
    container: dict[str, Any] = {"name": "a", "env": [{"name": "MLFLOW_TRACKING_INSECURE_TLS", **given}]}
    plan = plan_injection(KAGENTI, build_agent(container), AGENT_DEPLOYMENTS, with_ca())
    assert ("MLFLOW_TRACKING_SERVER_CERT_PATH" in names_applied(plan)) is expected
    assert plan.kept == ()


def test_a_gateway_that_comes_takes_the_ca_out() -> None:
    agent = configured(values=with_ca())
    plan = plan_injection(KAGENTI, agent, AGENT_DEPLOYMENTS, INJECTION)
    assert "MLFLOW_TRACKING_SERVER_CERT_PATH" not in names_applied(plan)


def copied(**changed: str) -> AgentWorkload:
    """A live manifest of team0, whose experiment is 3, applied in team1."""
    there = Injection(
        tracking_uri=INJECTION.tracking_uri,
        experiment_id="3",
        experiment_name="weather",
        workspace="team0",
    )
    env = [{**e, "value": changed.get(e["name"], e["value"])} for e in environment(there)]
    return build_agent({"name": "agent", "env": env}, annotations=there.annotations(KAGENTI))


def test_what_a_copy_brought_from_another_namespace_is_ours() -> None:
    plan = plan_injection(KAGENTI, copied(), AGENT_DEPLOYMENTS, INJECTION)
    assert plan.kept == plan.left_out == ()
    assert plan.body is not None
    assert plan.body["spec"]["template"]["spec"]["containers"][0]["env"] == environment()


def test_a_copy_keeps_what_the_user_set_there() -> None:
    plan = plan_injection(KAGENTI, copied(MLFLOW_EXPERIMENT_NAME="x"), AGENT_DEPLOYMENTS, INJECTION)
    assert plan.kept == ("agent/MLFLOW_EXPERIMENT_NAME",)
    assert "MLFLOW_WORKSPACE" in names_applied(plan)


def test_a_workspace_that_the_user_changes_in_place_is_no_copy() -> None:
    env = [e if e["name"] != "MLFLOW_WORKSPACE" else {**e, "value": "team0"} for e in environment()]
    changed = build_agent({"name": "agent", "env": env}, annotations=INJECTION.annotations(KAGENTI))
    plan = plan_injection(KAGENTI, changed, AGENT_DEPLOYMENTS, INJECTION)
    assert plan.kept == ("agent/MLFLOW_WORKSPACE",)


def test_a_server_of_the_users_own_keeps_its_workspace_whatever_the_annotations_say() -> None:
    plan = plan_injection(KAGENTI, copied(MLFLOW_TRACKING_URI="https://x"), AGENT_DEPLOYMENTS, INJECTION)
    assert plan.kept == ("agent/MLFLOW_TRACKING_URI", "agent/MLFLOW_WORKSPACE")


def test_the_kubelet_makes_of_a_value_what_mlflow_has() -> None:
    odd = Injection(tracking_uri="https://m", experiment_id="7", experiment_name="$(A) $$", workspace="team1")
    assert odd.environment()["MLFLOW_EXPERIMENT_NAME"] == "$$(A) $$$$"
    assert odd.annotations(KAGENTI)["mlflow.kagenti.io/experiment-name"] == "$(A) $$"
    assert plan_injection(KAGENTI, configured(values=odd), AGENT_DEPLOYMENTS, odd).body is None


def test_another_tracking_uri_replaces_what_is_ours() -> None:
    moved = Injection(
        tracking_uri="https://elsewhere", experiment_id="7", experiment_name="weather", workspace="team1"
    )
    plan = plan_injection(KAGENTI, configured(), AGENT_DEPLOYMENTS, moved)
    assert plan.kept == ()
    assert plan.body is not None
    assert plan.body["spec"]["template"]["spec"]["containers"][0]["env"] == environment(moved)


def test_edited_annotations_are_written_again_without_taking_a_variable_out() -> None:
    """What an apply leaves out goes, and would come back with a second roll."""
    edited = dict(INJECTION.annotations(KAGENTI)) | {"mlflow.kagenti.io/experiment-id": "77"}
    changed = build_agent({"name": "agent", "env": environment()}, annotations=edited)
    plan = plan_injection(KAGENTI, changed, AGENT_DEPLOYMENTS, INJECTION)
    assert plan.kept == ()
    assert plan.body is not None
    assert plan.body["spec"]["template"]["spec"]["containers"][0]["env"] == environment()


def test_a_sandbox_keeps_its_template_elsewhere() -> None:
    raw = {
        "metadata": {"name": "s", "namespace": "team1"},
        "spec": {"podTemplate": {"spec": {"containers": [{"name": "c"}]}}},
    }
    plan = plan_injection(KAGENTI, msgspec.convert(raw, AgentSandbox), AGENT_SANDBOXES, INJECTION)
    assert plan.body is not None
    assert plan.body["kind"] == "Sandbox"
    assert plan.body["spec"]["podTemplate"]["spec"]["containers"][0]["name"] == "c"


def test_what_others_own_too_is_taken_out_by_position_and_nothing_else() -> None:
    mine = {"name": "MINE", "value": "x"}
    changed = {"name": "MLFLOW_TRACKING_AUTH", "value": "theirs"}
    env = [mine, *(changed if e["name"] == changed["name"] else e for e in environment()), mine]
    annotations = {"note": "x", **INJECTION.annotations(KAGENTI)}
    template = {
        "metadata": {"annotations": annotations},
        "spec": {"containers": [{"name": "proxy"}, {"name": "agent", "env": env}]},
    }
    workload = {"metadata": {"resourceVersion": "5"}, "spec": {"template": template}}
    lock, *removals = build_removal(KAGENTI, workload, AGENT_DEPLOYMENTS, INJECTION)
    assert lock == {"op": "replace", "path": "/metadata/resourceVersion", "value": "5"}
    assert {op["op"] for op in removals} == {"remove"}
    paths = [op["path"] for op in removals]
    container = "/spec/template/spec/containers/1/env"
    # From the end on, so that each position is still right.
    assert paths[4:] == [f"{container}/{position}" for position in (5, 4, 3, 1)]
    assert paths[0] == "/spec/template/metadata/annotations/mlflow.kagenti.io~1experiment-id"
    assert not any("note" in path for path in paths)


@pytest.mark.parametrize(
    ("manager", "operation", "others"),
    [
        ("kagenti-operator", "Apply", False),
        # The same program by another kind of write, as other operators use them, owns it for itself.
        ("kagenti-operator", "Update", True),
        ("manager", "Update", True),
    ],
)
def test_who_else_owns_what_is_to_be_released_is_read_from_the_managed_fields(
    manager: str, operation: str, *, others: bool
) -> None:
    mark = "f:mlflow.kagenti.io/experiment-id"
    owned: dict[str, Any] = {"f:template": {"f:metadata": {"f:annotations": {".": {}, mark: {}}}}}
    entry = {"manager": manager, "operation": operation, "fieldsV1": {"f:spec": owned}}
    status: dict[str, Any] = {"manager": "kubelet", "operation": "Update", "fieldsV1": {"f:status": {}}}
    workload = {"metadata": {"managedFields": [status, entry]}}
    assert is_owned_by_others(KAGENTI, workload, AGENT_DEPLOYMENTS) is others
    # A Sandbox has its template elsewhere.
    assert not is_owned_by_others(KAGENTI, workload, AGENT_SANDBOXES)
    assert not is_owned_by_others(ROSSOCTL, workload, AGENT_DEPLOYMENTS)


@pytest.mark.parametrize("value", ["disabled", "Disabled", "false", "FALSE", "off", "No", " disabled "])
def test_people_opt_out_in_any_spelling_and_in_either_place(value: str) -> None:
    for agent in (build_agent(inject=value), build_agent(pod_inject=value)):
        assert is_opted_out(agent)
        assert unknown_inject_values(agent) == ()


@pytest.mark.parametrize("value", [None, "enabled", "True"])
def test_who_says_nothing_or_yes_is_served(value: str | None) -> None:
    for agent in (build_agent(inject=value), build_agent(pod_inject=value)):
        assert not is_opted_out(agent)
        assert unknown_inject_values(agent) == ()


def test_one_no_is_enough_whatever_the_other_place_says() -> None:
    assert is_opted_out(build_agent(inject="enabled", pod_inject="off"))
    assert is_opted_out(build_agent(inject="off", pod_inject="enabled"))


@pytest.mark.parametrize("value", ["later", "", "0"])
def test_what_is_not_understood_is_served_and_named(value: str) -> None:
    for agent in (build_agent(inject=value), build_agent(pod_inject=value)):
        assert not is_opted_out(agent)
        assert unknown_inject_values(agent) == (value,)


def test_the_opt_out_annotation_is_the_users_and_no_mark_of_ours() -> None:
    assert not is_marked(build_agent(pod_inject="disabled"))
    annotations = {**INJECTION.annotations(KAGENTI), "mlflow.kagenti.io/inject": "enabled"}
    agent = build_agent({"name": "agent", "env": environment()}, annotations=annotations)
    assert plan_injection(KAGENTI, agent, AGENT_DEPLOYMENTS, INJECTION).body is None


def test_marks_are_seen() -> None:
    assert is_marked(configured())
    assert not is_marked(build_agent())


def test_a_sandbox_may_name_its_account_as_pods_did_before() -> None:
    raw = {
        "metadata": {"name": "s", "namespace": "team1"},
        "spec": {"podTemplate": {"spec": {"serviceAccount": "coder", "containers": [{"name": "c"}]}}},
    }
    key = AgentKey("Sandbox", "team1", "s")
    grantees = (grantee(msgspec.convert(raw, AgentSandbox), key),)
    _, binding = build_access(KAGENTI, key, ("s",), grantees, experiment=EXPERIMENT)
    assert [subject["name"] for subject in binding["subjects"]] == ["coder"]


def test_a_deployment_and_a_statefulset_of_one_name_share_their_role() -> None:
    both = (
        grantee(build_agent()),
        grantee(build_agent(service_account="other"), KEY._replace(kind="StatefulSet")),
    )
    role, binding = build_access(KAGENTI, KEY, ("weather",), both, experiment=EXPERIMENT)
    assert [o["kind"] for o in role["metadata"]["ownerReferences"]] == ["Deployment", "StatefulSet"]
    assert [s["name"] for s in binding["subjects"]] == ["default", "other"]


def test_an_id_that_is_not_common_is_taken_back() -> None:
    grantees = (grantee(build_agent()),)
    role, _ = build_access(KAGENTI, KEY, ("weather",), grantees, experiment=EXPERIMENT)
    kept = msgspec.convert(role, Role)
    assert not differs(role, kept)
    without, _ = build_access(KAGENTI, KEY, ("weather",), grantees, experiment=None)
    assert differs(without, kept)
    assert not msgspec.convert(without, Role).metadata.annotations.experiment_id


def test_a_role_of_an_earlier_version_is_not_written_before_the_rest_is_known() -> None:
    grantees = (grantee(build_agent()),)
    known = Experiment(id=EXPERIMENT.id, name=EXPERIMENT.name)
    earlier = msgspec.convert(build_access(KAGENTI, KEY, ("weather",), grantees, experiment=known)[0], Role)
    assert recorded_experiment(earlier) == known
    role, _ = build_access(KAGENTI, KEY, ("weather",), grantees, experiment=EXPERIMENT, mlflow_uid="m1")
    assert differs(role, earlier)
    assert recorded_experiment(msgspec.convert(role, Role)) == EXPERIMENT


@pytest.mark.parametrize("time", ["", "soon", "-1", "9" * 5000, "\u0661"])
def test_what_somebody_wrote_for_a_time_is_none(time: str) -> None:
    role, _ = build_access(KAGENTI, KEY, ("weather",), (grantee(build_agent()),), experiment=EXPERIMENT)
    metadata = role["metadata"]
    annotations = metadata["annotations"] | {"mlflow.kagenti.io/experiment-creation-time": time}
    written = msgspec.convert({**role, "metadata": {**metadata, "annotations": annotations}}, Role)
    assert recorded_experiment(written) == Experiment(id=EXPERIMENT.id, name=EXPERIMENT.name)


def test_what_is_left_out_of_many_containers_is_written_once() -> None:
    theirs = [
        {"name": f"container-{n}", "env": [{"name": "MLFLOW_EXPERIMENT_NAME", "value": "mine"}]}
        for n in range(50)
    ]
    first = plan_injection(KAGENTI, build_agent(*theirs), AGENT_DEPLOYMENTS, INJECTION)
    assert first.body is not None
    template = first.body["spec"]["template"]
    assert len(template["metadata"]["annotations"]["mlflow.kagenti.io/left-out"]) > 1024
    env = {c["name"]: c["env"] for c in template["spec"]["containers"]}
    written = [{"name": c["name"], "env": [*c["env"], *env[c["name"]]]} for c in theirs]
    agent = build_agent(*written, annotations=template["metadata"]["annotations"])
    assert plan_injection(KAGENTI, agent, AGENT_DEPLOYMENTS, INJECTION).body is None


@pytest.mark.parametrize(
    ("account", "expected"),
    [(None, ["default", "weather"]), ("default", ["default", "weather"]), ("own", ["own"])],
)
def test_pods_that_may_run_as_their_workloads_account_are_granted_by_both_names(
    account: str | None, expected: list[str]
) -> None:
    agent = build_agent(service_account=account) if account else build_agent()
    given = replace(grantee(agent), has_own_account=True)
    _, binding = build_access(KAGENTI, KEY, ("weather",), (given,), experiment=EXPERIMENT)
    assert [subject["name"] for subject in binding["subjects"]] == expected
