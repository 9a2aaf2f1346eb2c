"""Whatever a workload looks like, one apply is enough, and nothing of the user's is changed."""

from typing import Any

import msgspec
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from kagenti_operator.contract import KAGENTI
from kagenti_operator.controllers.agents.access import Grantee, build_access
from kagenti_operator.controllers.agents.injection import Injection, plan_injection
from kagenti_operator.controllers.agents.keys import AgentKey
from kagenti_operator.kube.objects.agents import AgentWorkload
from kagenti_operator.kube.resources import AGENT_DEPLOYMENTS
from kagenti_operator.mlflow.client import Experiment

KEY = AgentKey("Deployment", "team1", "weather")
EXPERIMENT = Experiment(id="7", name="weather")
NAMES = (
    "MLFLOW_TRACKING_URI",
    "MLFLOW_TRACKING_AUTH",
    "MLFLOW_EXPERIMENT_ID",
    "MLFLOW_EXPERIMENT_NAME",
    "MLFLOW_WORKSPACE",
    "MLFLOW_TRACKING_TOKEN",
    "MLFLOW_TRACKING_SERVER_CERT_PATH",
    "MLFLOW_TRACKING_INSECURE_TLS",
)
values = st.sampled_from(["a", "b", "team1", None])
environments = st.dictionaries(st.sampled_from(NAMES), values, max_size=4)
containers = st.lists(environments, min_size=1, max_size=3)
injections = st.builds(
    Injection,
    tracking_uri=st.sampled_from(["a", "https://mlflow"]),
    experiment_id=st.sampled_from(["a", "7"]),
    experiment_name=st.sampled_from(["b", "weather"]),
    workspace=st.just("team1"),
    service_ca=st.booleans(),
)


def build(environment: list[dict[str, str | None]], annotations: dict[str, str]) -> AgentWorkload:
    found: list[dict[str, Any]] = [
        {
            "name": f"c{i}",
            "env": [
                {"name": n, "value": v} if v is not None else {"name": n, "valueFrom": {}}
                for n, v in env.items()
            ],
        }
        for i, env in enumerate(environment)
    ]
    template: dict[str, Any] = {"metadata": {"annotations": annotations}, "spec": {"containers": found}}
    metadata = {"name": "weather", "namespace": "team1"}
    return msgspec.convert({"metadata": metadata, "spec": {"template": template}}, AgentWorkload)


def environment_of(agent: AgentWorkload) -> list[dict[str, str | None]]:
    return [{var.name: var.value for var in c.env or ()} for c in agent.template.spec.containers]


def merge(agent: AgentWorkload, body: Any) -> AgentWorkload:
    """What a server-side apply makes of it: lists of containers and variables are keyed by name."""
    template = body["spec"]["template"]
    merged = environment_of(agent)
    # Those that we applied before and leave out now stay here; a real apply takes them out.
    for environment, applied in zip(merged, template["spec"]["containers"], strict=True):
        environment.update({var["name"]: var["value"] for var in applied["env"]})
    return build(merged, template["metadata"]["annotations"])


@given(containers, injections)
def test_one_apply_is_enough(environment: list[dict[str, str | None]], injection: Injection) -> None:
    agent = build(environment, {})
    plan = plan_injection(KAGENTI, agent, AGENT_DEPLOYMENTS, injection)
    assert (plan.body is None) is plan.nothing_left
    if plan.body:
        assert plan_injection(KAGENTI, merge(agent, plan.body), AGENT_DEPLOYMENTS, injection).body is None


@given(containers, injections)
def test_what_the_user_set_stays(environment: list[dict[str, str | None]], injection: Injection) -> None:
    agent = build(environment, {})
    body = plan_injection(KAGENTI, agent, AGENT_DEPLOYMENTS, injection).body
    after = environment_of(merge(agent, body) if body else agent)
    for given_by_user, found in zip(environment, after, strict=True):
        assert {name: found[name] for name in given_by_user} == given_by_user


@given(containers, injections, injections)
def test_a_change_of_mind_reaches_what_is_ours_and_only_that(
    environment: list[dict[str, str | None]], first: Injection, second: Injection
) -> None:
    agent = build(environment, {})
    body = plan_injection(KAGENTI, agent, AGENT_DEPLOYMENTS, first).body
    configured = merge(agent, body) if body else agent
    plan = plan_injection(KAGENTI, configured, AGENT_DEPLOYMENTS, second)
    moved = merge(configured, plan.body) if plan.body else configured
    for i, (given_by_user, found) in enumerate(zip(environment, environment_of(moved), strict=True)):
        for name, value in second.environment().items():
            if name not in given_by_user and f"c{i}/{name}" not in plan.left_out:
                assert found[name] == value


@given(st.lists(st.sampled_from(["", "a", "weather"]), max_size=3), st.integers(0, 2))
@example([], 1)
@example(["weather"], 0)
def test_no_role_ever_grants_all_experiments(names: list[str], grantees: int) -> None:
    grantee = Grantee(key=KEY, resource=AGENT_DEPLOYMENTS, agent=build([], {}))
    served, granted = (grantee,) * grantees, tuple(names)
    if not names or "" in names or not grantees:
        with pytest.raises(ValueError, match="weather"):
            build_access(KAGENTI, KEY, granted, served, experiment=EXPERIMENT)
    else:
        role, _ = build_access(KAGENTI, KEY, granted, served, experiment=EXPERIMENT)
        assert [rule["resourceNames"] for rule in role["rules"]] == [granted]
