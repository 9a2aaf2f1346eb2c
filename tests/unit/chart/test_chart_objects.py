"""What holds for every object of every rendered variant."""

import json
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from kagenti_operator.cli.main import build_parser
from tests.support.promql_queries import read_panels

RENDERED = sorted((Path(__file__).parent / "cases").glob("*.golden.yaml"))
CONVENTION = {"name", "instance", "component", "part-of", "managed-by", "version"}
# What OpenShift's console draws (legacy-dashboard.tsx of openshift/monitoring-plugin).
CONSOLE_PANELS = {"gauge", "grafana-piechart-panel", "graph", "singlestat", "table"}


@pytest.mark.parametrize("rendered", RENDERED, ids=lambda path: path.name.removesuffix(".golden.yaml"))
def test_labels_follow_the_convention(rendered: Path) -> None:
    objects: list[dict[str, Any]] = list(yaml.safe_load_all(rendered.read_text()))
    # The pods that a Deployment makes are objects too.
    labelled = objects + [o["spec"]["template"] for o in objects if o["kind"] == "Deployment"]
    for found in labelled:
        labels = found["metadata"]["labels"]
        assert {f"app.kubernetes.io/{key}" for key in CONVENTION} <= labels.keys(), found["metadata"]
        assert labels["app.kubernetes.io/name"] == "kagenti-operator"
        assert labels["app.kubernetes.io/managed-by"] == "Helm"


@pytest.mark.parametrize("rendered", RENDERED, ids=lambda path: path.name.removesuffix(".golden.yaml"))
def test_the_operators_selectors_do_not_find_the_pod_of_helm_test(rendered: Path) -> None:
    objects: list[dict[str, Any]] = list(yaml.safe_load_all(rendered.read_text()))
    (tested,) = [o for o in objects if o["kind"] == "Pod"]
    (deployment,) = [o for o in objects if o["kind"] == "Deployment"]
    selector = deployment["spec"]["selector"]["matchLabels"].items()
    assert not selector <= tested["metadata"]["labels"].items()


@pytest.mark.parametrize("rendered", RENDERED, ids=lambda path: path.name.removesuffix(".golden.yaml"))
def test_the_operator_takes_the_arguments_of_its_pods(rendered: Path) -> None:
    objects: list[dict[str, Any]] = list(yaml.safe_load_all(rendered.read_text()))
    pods = [o["spec"]["template"] for o in objects if o["kind"] == "Deployment"]
    pods += [o for o in objects if o["kind"] == "Pod"]
    for pod in pods:
        for container in pod["spec"]["containers"]:
            # Refused ones end the test by SystemExit, with the usage.
            assert build_parser().parse_args(container["args"]).command == container["args"][0]


def test_names_reach_the_operator_as_they_are() -> None:
    awkward = Path(__file__).parent / "cases" / "awkward-names.golden.yaml"
    objects: list[dict[str, Any]] = list(yaml.safe_load_all(awkward.read_text()))
    (deployment,) = [o for o in objects if o["kind"] == "Deployment"]
    pod = deployment["spec"]["template"]["spec"]
    args = build_parser().parse_args(pod["containers"][0]["args"])
    assert (args.mlflow_workspace, args.mlflow_experiment_name) == ("1e3", "team #1: {traces}")
    assert str(args.mlflow_ca_file) == "/etc/ca: of #1.pem"
    assert (pod["serviceAccountName"], pod["priorityClassName"]) == ("123", "1e3")
    assert {o["metadata"]["name"] for o in objects if o["kind"] == "ServiceAccount"} >= {"123"}


def test_what_is_tuned_by_values_is_what_the_operator_is_started_with() -> None:
    tuned = Path(__file__).parent / "cases" / "tuned.golden.yaml"
    (deployment,) = [o for o in yaml.safe_load_all(tuned.read_text()) if o["kind"] == "Deployment"]
    args = build_parser().parse_args(deployment["spec"]["template"]["spec"]["containers"][0]["args"])
    assert (args.max_concurrent_rolls, args.mlflow_poll_interval) == (2_000_000, 900)
    assert (args.log_format, args.log_level) == ("text", "debug")


@pytest.fixture
def console_rows(helm: Callable[..., subprocess.CompletedProcess[str]]) -> list[dict[str, Any]]:
    values = ("--set=openshiftConsole.dashboard=true", "--set=platform=openshift")
    rendered: list[dict[str, Any]] = list(yaml.safe_load_all(helm("template", *values).stdout))
    (dashboard,) = [o for o in rendered if o["kind"] == "ConfigMap"]
    assert dashboard["metadata"]["namespace"] == "openshift-config-managed"
    assert dashboard["metadata"]["labels"]["console.openshift.io/dashboard"] == "true"
    return json.loads(dashboard["data"]["kagenti-operator.json"])["rows"]


def test_openshifts_console_can_draw_every_panel(console_rows: list[dict[str, Any]]) -> None:
    for row in console_rows:
        assert row["title"]
        assert row["panels"]
        for panel in row["panels"]:
            assert panel["type"] in CONSOLE_PANELS
            assert panel["span"] in range(1, 13)


def test_openshifts_console_asks_what_grafana_asks(console_rows: list[dict[str, Any]]) -> None:
    drawn = {p["title"]: [t["expr"] for t in p["targets"]] for row in console_rows for p in row["panels"]}
    asked = {p["title"]: [t["expr"] for t in p["targets"]] for p in read_panels() if p["type"] != "row"}
    # It has no way to show a moment in time.
    moments = {"Configuration in place since", "MLflow last answered"}
    assert drawn == {title: queries for title, queries in asked.items() if title not in moments}


def test_neither_is_made_elsewhere(helm: Callable[..., subprocess.CompletedProcess[str]]) -> None:
    values = ("--set=openshiftConsole.dashboard=true,openshiftConsole.link=true", "--set=mlflow.enable=true")
    rendered = helm("template", *values).stdout
    assert "openshift-config-managed" not in rendered
    assert "--enable-console-link" not in rendered


def test_constraints_are_made_where_asked_for_on_openshift_alone(
    helm: Callable[..., subprocess.CompletedProcess[str]],
) -> None:
    values = ("--set=authbridge.enable=true", "--set=authbridge.scc.create=true")
    rendered = list(yaml.safe_load_all(helm("template", *values, "--set=platform.kind=openshift").stdout))
    made = {(it["kind"], it["metadata"]["name"]): it for it in rendered}
    scc = made["SecurityContextConstraints", "kagenti-authbridge"]
    assert scc["allowedCapabilities"] == ["NET_ADMIN", "NET_RAW"]
    assert not any(
        scc[key] for key in scc if key.startswith("allowHost") or key == "allowPrivilegedContainer"
    )
    [rule] = made["ClusterRole", "system:openshift:scc:kagenti-authbridge"]["rules"]
    assert (rule["resourceNames"], rule["verbs"]) == (["kagenti-authbridge"], ["use"])
    deployment = made["Deployment", "kagenti-controller-manager"]
    [container] = deployment["spec"]["template"]["spec"]["containers"]
    assert "--authbridge-scc=kagenti-authbridge" in container["args"]

    elsewhere = helm("template", *values, "--set=platform.kind=kubernetes").stdout
    assert "SecurityContextConstraints" not in elsewhere
    assert "--authbridge-scc" not in elsewhere
