"""Why an agent's pods cannot use what is put into them, as far as their template tells."""

from copy import replace
from typing import Any

import msgspec
import pytest

from kagenti_operator.contract import KAGENTI
from kagenti_operator.controllers.agents.injection import Injection, plan_injection
from kagenti_operator.controllers.agents.obstacles import report_literal_references, report_obstacles
from kagenti_operator.kube.objects.agents import AgentWorkload
from kagenti_operator.kube.resources import AGENT_DEPLOYMENTS

from .workloads import INJECTION, build_agent, environment

IN_CLUSTER = replace(INJECTION, tracking_uri="https://mlflow.opendatahub.svc:8443/mlflow")
TOKEN_FOLDER = "/var/run/secrets/kubernetes.io/serviceaccount"


def hardened(*containers: dict[str, Any], automount: bool | None = False) -> AgentWorkload:
    spec = {"containers": containers or ({"name": "agent"},), "automountServiceAccountToken": automount}
    raw = {"metadata": {"name": "weather", "namespace": "team1"}, "spec": {"template": {"spec": spec}}}
    return msgspec.convert(raw, AgentWorkload)


def obstacles(agent: AgentWorkload, injection: Injection = INJECTION) -> str:
    """What is reported, empty where nothing is."""
    report = report_obstacles(agent, injection, plan_injection(KAGENTI, agent, AGENT_DEPLOYMENTS, injection))
    return report.message if report else ""


def with_env(**variables: str | None) -> AgentWorkload:
    env = [{"name": n, "value": v} if v is not None else {"name": n} for n, v in variables.items()]
    return build_agent({"name": "agent", "env": env})


def test_an_agent_without_a_token_is_reported_with_what_to_do() -> None:
    message = obstacles(hardened())
    assert "agent has no token to show" in message
    assert "take automountServiceAccountToken: false out" in message


@pytest.mark.parametrize("automount", [True, None])
def test_of_a_pod_template_that_says_nothing_nothing_is_said(automount: bool | None) -> None:
    assert obstacles(hardened(automount=automount)) == ""


def test_who_mounts_a_token_itself_or_brings_credentials_needs_none() -> None:
    mounted = {"name": "agent", "volumeMounts": [{"name": "token", "mountPath": TOKEN_FOLDER}]}
    assert obstacles(hardened(mounted)) == ""
    own: dict[str, Any] = {"name": "agent", "env": [{"name": "MLFLOW_TRACKING_TOKEN", "valueFrom": {}}]}
    assert obstacles(hardened(own)) == ""


@pytest.mark.parametrize(
    ("variables", "expected"),
    [
        ({"HTTPS_PROXY": "http://proxy:3128"}, "agent/HTTPS_PROXY"),
        ({"https_proxy": "http://proxy:3128", "NO_PROXY": "localhost,.example.com"}, "agent/https_proxy"),
        ({"ALL_PROXY": "http://proxy:3128"}, "agent/ALL_PROXY"),
        ({"HTTPS_PROXY": "http://proxy:3128", "NO_PROXY": ".svc.cluster.local"}, "agent/HTTPS_PROXY"),
        ({"HTTPS_PROXY": "http://proxy:3128", "NO_PROXY": "localhost, .svc"}, ""),
        ({"HTTPS_PROXY": "http://proxy:3128", "no_proxy": "*"}, ""),
        ({"HTTPS_PROXY": "http://proxy:3128", "NO_PROXY": None}, ""),
        ({"HTTP_PROXY": "http://proxy:3128"}, ""),
        ({"HTTPS_PROXY": ""}, ""),
    ],
)
def test_a_proxy_that_would_catch_the_address(variables: dict[str, str | None], expected: str) -> None:
    message = obstacles(with_env(**variables), IN_CLUSTER)
    assert (expected in message) if expected else message == ""
    # A gateway may well be behind the proxy.
    assert obstacles(with_env(**variables)) == ""


def test_a_workspace_in_which_nothing_is_granted() -> None:
    assert "agent/MLFLOW_WORKSPACE is 'team0'" in obstacles(with_env(MLFLOW_WORKSPACE="team0"))
    assert obstacles(with_env(MLFLOW_WORKSPACE="team1")) == ""
    own_server = with_env(MLFLOW_WORKSPACE="team0", MLFLOW_TRACKING_URI="https://mine")
    assert obstacles(own_server) == ""


def test_what_a_copy_brought_is_replaced_and_nothing_to_report() -> None:
    there = replace(INJECTION, experiment_id="3", workspace="team0")
    copy = build_agent({"name": "agent", "env": environment(there)}, annotations=there.annotations(KAGENTI))
    assert obstacles(copy) == ""


def test_a_reference_to_a_variable_that_stands_after_it_stays_as_it_is_written() -> None:
    mine = {"name": "MY_URL", "value": "$(MLFLOW_TRACKING_URI)/x"}
    report = report_literal_references(build_agent({"name": "agent", "env": [mine]}))
    assert report is not None
    assert "agent/MY_URL refer" in report.message
    assert report_literal_references(build_agent({"name": "agent", "env": [mine, *environment()]}))
    assert report_literal_references(build_agent({"name": "agent", "env": [*environment(), mine]})) is None


@pytest.mark.parametrize("value", ["$$(MLFLOW_TRACKING_URI)", "$(MLFLOW_OTHER)", "MLFLOW_TRACKING_URI", ""])
def test_what_is_no_reference_to_ours(value: str) -> None:
    env = [{"name": "MY_URL", "value": value}]
    assert report_literal_references(build_agent({"name": "agent", "env": env})) is None
