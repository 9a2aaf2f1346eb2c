"""Values of an older chart on today's: `helm upgrade --reuse-values` brings no default of what is new."""

import re
import subprocess
import tarfile
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, cast

import pytest
import yaml

from tests.unit.chart.conftest import CHART

type Helm = Callable[..., subprocess.CompletedProcess[str]]

FIRST_CHART = Path(__file__).parents[2] / "integration" / "platform" / "kagenti-operator-0.1.0.tgz"


def read_first() -> dict[str, Any]:
    """The values of the chart as it was when it was first installed."""
    with tarfile.open(FIRST_CHART) as package:
        member = package.extractfile("kagenti-operator/values.yaml")
        assert member is not None
        return yaml.safe_load(member)


def added(values: Mapping[str, Any], before: Mapping[str, Any], path: str = "") -> Iterator[str]:
    """Each value that was not there before, as `--set` names it; a block of them once."""
    for key, value in values.items():
        if key not in before:
            yield path + key
        elif isinstance(value, dict) and isinstance(before[key], dict):
            yield from added(cast("dict[str, Any]", value), before[key], f"{path}{key}.")


TODAY: dict[str, Any] = yaml.safe_load((CHART / "values.yaml").read_text())
FIRST = read_first()
ADDED = tuple(added(TODAY, FIRST))
# On, so that as little as possible of the templates is passed over.
EVERYTHING = (
    "--set=mlflow.enable=true,otelBootstrap.enable=true,prometheus.enable=true,networkPolicy.enable=true",
    "--set=platform=openshift",
)


def render(helm: Helm, *values: str) -> list[dict[str, Any]]:
    """What would be installed, and that what helm says at the end can be rendered too."""
    installed = helm("install", "--dry-run=client", *EVERYTHING, *values)
    assert installed.returncode == 0, installed.stderr
    objects = [m for m in yaml.safe_load_all(helm("template", *EVERYTHING, *values).stdout) if m]
    assert list(find_empty(objects)) == []
    return objects


def find_empty(value: Any, path: str = "") -> Iterator[str]:
    """Where something has a name but no value, which is what a template makes of a value that is absent."""
    if value is None or (isinstance(value, str) and re.search(r"<no value>|<nil>|[=:]$", value)):
        yield path
    elif isinstance(value, dict):
        for key, inner in cast("dict[str, Any]", value).items():
            yield from find_empty(inner, f"{path}.{key}")
    elif isinstance(value, list):
        for index, inner in enumerate(cast("list[Any]", value)):
            yield from find_empty(inner, f"{path}[{index}]")


@pytest.mark.parametrize("kind", ["openshift", "kubernetes"])
def test_the_platform_may_be_a_text_as_it_was(kind: str, helm: Helm) -> None:
    assert (
        helm("template", f"--set=platform={kind}").stdout
        == helm("template", f"--set=platform.kind={kind}").stdout
    )
    assert "platform" in helm("template", "--set=platform=eks").stderr


def test_a_block_and_a_value_that_came_later_are_known() -> None:
    assert {"openshiftConsole", "metrics.certificateSecret"} <= set(ADDED)


@pytest.mark.parametrize("value", ADDED)
def test_a_value_that_came_later_may_be_absent(value: str, helm: Helm) -> None:
    assert render(helm, f"--set={value}=null")


def test_all_that_came_later_may_be_absent(helm: Helm) -> None:
    kinds = [o["kind"] for o in render(helm, *(f"--set={value}=null" for value in ADDED))]
    assert "ServiceMonitor" in kinds
    # That one came later.
    assert "PrometheusRule" not in kinds


def test_the_operator_is_not_cut_off_where_no_ports_are_known(helm: Helm) -> None:
    policies = [
        [o for o in render(helm, *values) if o["kind"] == "NetworkPolicy"]
        for values in ((), ("--set=networkPolicy.egressPorts=null",))
    ]
    assert policies[0] == policies[1]


def test_the_dashboard_is_found_where_no_labels_are_known(helm: Helm) -> None:
    rendered = render(helm, "--set=grafanaDashboard.enable=true", "--set=grafanaDashboard.labels=null")
    (dashboard,) = [o for o in rendered if o["metadata"]["name"].endswith("-dashboard")]
    assert dashboard["metadata"]["labels"]["grafana_dashboard"] == "1"


@pytest.mark.parametrize("block", sorted(FIRST))
def test_a_block_that_was_always_there_is_missed_by_name(block: str, helm: Helm) -> None:
    refused = helm("template", f"--set={block}=null")
    assert refused.returncode != 0
    assert f"missing property '{block}'" in refused.stderr


@pytest.mark.parametrize(
    ("url", "port"),
    [
        ("", 8080),
        ("https://keycloak.example.com", 443),
        ("http://keycloak", 80),
        ("http://[fd00::1]:9080", 9080),
    ],
)
def test_keycloak_is_reached_where_clients_are_registered(helm: Helm, url: str, port: int) -> None:
    values = ("--set=networkPolicy.egressPorts={6443}", f"--set=keycloak.url={url}")
    register = "--set=authbridge.enable=true,authbridge.clientRegistration.enable=true"
    assert out_ports(helm, *values) == [6443]
    assert out_ports(helm, *values, register) == [6443, port]


def out_ports(helm: Helm, *values: str) -> list[int]:
    names = {"kind": "NetworkPolicy", "name": "kagenti-controller-manager"}
    rendered = render(helm, *values)
    (policy,) = [o for o in rendered if {"kind": o["kind"], "name": o["metadata"]["name"]} == names]
    return [it["port"] for it in policy["spec"]["egress"][1]["ports"]]
