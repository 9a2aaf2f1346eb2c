"""Alerts and dashboard by themselves; whether what they ask for exists is asked of a running operator."""

import re
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.support.documents import find_anchors
from tests.support.promql_queries import (
    FILES,
    dashboard_queries,
    names_and_labels,
    read_panels,
    read_rules,
    rule_queries,
)

QUERIES = [*rule_queries(), *dashboard_queries()]
DOCUMENT = Path(__file__).parents[3] / "docs" / "metrics.md"
RUNBOOKS = DOCUMENT.with_name("runbooks.md")


@pytest.mark.parametrize(("where", "query"), QUERIES, ids=[where for where, _ in QUERIES])
def test_a_query_is_promql_that_asks_for_something(where: str, query: str) -> None:
    assert names_and_labels(query), where


def test_a_query_that_is_no_promql_is_found() -> None:
    with pytest.raises(ValueError, match=r"\S"):
        names_and_labels("sum by (code rate(kagenti_x[5m])")


def test_names_and_labels_are_found_wherever_they_stand() -> None:
    query = (
        'max(a{x="1"} - b) > 0 and on () histogram_quantile(0.9, sum by (le) (rate(c_bucket{y=~"2"}[5m])))'
    )
    assert names_and_labels(query) == [("a", {"x"}), ("b", set()), ("c_bucket", {"y"})]


def test_every_alert_says_how_bad_it_is_what_is_wrong_and_leads_to_its_runbook() -> None:
    names = [rule["alert"] for rule in read_rules()]
    assert len(set(names)) == len(names)
    for rule in read_rules():
        assert rule["labels"]["severity"] in ("critical", "warning")
        assert rule["annotations"].keys() == {"summary", "description", "runbook_url"}
        anchor = rule["alert"].lower()
        assert rule["annotations"]["runbook_url"] == f"docs/runbooks.md#{anchor}"
        assert anchor in find_anchors(RUNBOOKS)
        assert f"## {rule['alert']}\n\n{rule['labels']['severity'].capitalize()}. " in RUNBOOKS.read_text()


def test_no_runbook_is_left_without_its_alert() -> None:
    assert find_anchors(RUNBOOKS) - {"runbooks"} == {rule["alert"].lower() for rule in read_rules()}


def test_alerts_link_to_where_people_read_the_runbooks(
    helm: Callable[..., subprocess.CompletedProcess[str]],
) -> None:
    read_at = "https://forge.example.com/docs/runbooks.md"
    rendered = helm("template", "--set", f"prometheus.enable=true,prometheus.runbooks={read_at}")
    (rules,) = [o for o in yaml.safe_load_all(rendered.stdout) if o["kind"] == "PrometheusRule"]
    for rule in rules["spec"]["groups"][0]["rules"]:
        assert rule["annotations"]["runbook_url"] == f"{read_at}#{rule['alert'].lower()}"


def test_every_metric_of_the_operator_in_a_query_is_explained() -> None:
    explained = set(re.findall(r"`(kagenti_[a-z_]+)", DOCUMENT.read_text()))
    for where, query in QUERIES:
        for name, _ in names_and_labels(query):
            family = re.sub(r"_(bucket|sum|count)$", "", name)
            assert not name.startswith("kagenti_") or family in explained, f"{where}: {name}"


def test_no_panel_lies_on_another() -> None:
    taken: set[tuple[int, int]] = set()
    for panel in read_panels():
        at = panel["gridPos"]
        cells = {(x, y) for x in range(at["x"], at["x"] + at["w"]) for y in range(at["y"], at["y"] + at["h"])}
        assert not cells & taken, panel["title"]
        taken |= cells
    assert len({panel["id"] for panel in read_panels()}) == len(read_panels())


@pytest.mark.parametrize("platform", ["openshift", "kubernetes"])
@pytest.mark.parametrize("certificate", ["", "metrics-certificate"])
def test_no_file_of_prometheus_is_named_where_the_token_is_in_a_secret(
    platform: str, certificate: str, helm: Callable[..., subprocess.CompletedProcess[str]]
) -> None:
    values = f"prometheus.enable=true,platform={platform},metrics.certificateSecret={certificate}"
    with_file = read_endpoint(helm("template", "--set", values))
    assert with_file["bearerTokenFile"] == "/var/run/secrets/kubernetes.io/serviceaccount/token"
    assert "authorization" not in with_file
    with_secret = read_endpoint(helm("template", "--set", f"{values},prometheus.tokenSecret=scraper"))
    assert with_secret["authorization"] == {"credentials": {"name": "scraper", "key": "token"}}
    # As the Prometheus operator looks: by the names of the fields, in the TLS settings as well.
    named = {*with_secret, *with_secret["tlsConfig"]}
    assert [name for name in named if name.lower().endswith("file")] == []


def read_endpoint(rendered: subprocess.CompletedProcess[str]) -> dict[str, Any]:
    (monitor,) = [m for m in yaml.safe_load_all(rendered.stdout) if m["kind"] == "ServiceMonitor"]
    (endpoint,) = monitor["spec"]["endpoints"]
    return endpoint


def test_the_chart_carries_both_as_they_are(helm: Callable[..., subprocess.CompletedProcess[str]]) -> None:
    values = ("--set", "prometheus.enable=true", "--set", "grafanaDashboard.enable=true")
    rendered = list(yaml.safe_load_all(helm("template", *values).stdout))
    (rules,) = [m for m in rendered if m["kind"] == "PrometheusRule"]
    assert rules["spec"]["groups"][0]["rules"] == read_rules()
    (dashboard,) = [m for m in rendered if m["kind"] == "ConfigMap"]
    assert dashboard["metadata"]["labels"]["grafana_dashboard"] == "1"
    assert dashboard["data"]["kagenti-operator.json"] == (FILES / "dashboard.json").read_text().strip()
