"""Which Deployment is the platform's own operator, and what it writes."""

from typing import Any

import msgspec
import pytest

from kagenti_operator.controllers.dependencies import Dependencies
from kagenti_operator.controllers.own_deployment import OwnDeployment
from kagenti_operator.controllers.platform_operator import (
    PlatformOperator,
    find_writers,
    report_writers,
)
from kagenti_operator.controllers.platform_operator_marks import CONFIGURATION, MLFLOW, is_platform_operator
from kagenti_operator.controllers.settings import Settings
from kagenti_operator.kube.objects.workloads import Workload
from tests.unit.controllers.dependencies import open_dependencies, put

GO = ("--leader-elect", "--metrics-bind-address=:8443", "--enable-client-registration=true")
OURS = ("run", "--leader-elect", "--operator-name=kagenti-traces-operator", "--enable-mlflow")


def deployment(
    *args: str,
    name: str = "kagenti-controller-manager",
    namespace: str = "kagenti-system",
    command: tuple[str, ...] | None = ("/manager",),
    labels: dict[str, str] | None = None,
    replicas: int = 1,
) -> Workload:
    container: dict[str, Any] = {"name": "manager", "image": "x", "command": command, "args": args}
    helper = {"name": "spiffe-helper", "image": "y", "args": ["-config", "/etc/helper.conf"]}
    body = {
        "metadata": {"name": name, "namespace": namespace, "uid": f"uid-{name}", "labels": labels or {}},
        "spec": {"replicas": replicas, "template": {"spec": {"containers": [container, helper]}}},
    }
    return msgspec.convert(body, Workload)


def switches(*found: Workload) -> set[str]:
    return {writer.switch for writer in find_writers(found)}


@pytest.mark.parametrize(
    ("args", "on"),
    [
        ((), set[str]()),
        (("--enable-mlflow=true",), {MLFLOW}),
        (("--enable-mlflow",), {MLFLOW}),
        (("-enable-mlflow=T",), {MLFLOW}),
        (("--enable-otel-bootstrap=1",), {CONFIGURATION}),
        (
            ("--enable-mlflow", "--mlflow-workspace", "team1", "--enable-otel-bootstrap"),
            {MLFLOW, CONFIGURATION},
        ),
        (("--enable-mlflow=false", "--enable-otel-bootstrap=0"), set[str]()),
        (("--enable-mlflow", "--enable-mlflow=false"), set[str]()),
        (("--mlflow-workspace=--enable-mlflow",), set[str]()),
    ],
)
def test_its_switches_are_read_as_it_reads_them(args: tuple[str, ...], on: set[str]) -> None:
    assert switches(deployment(*GO, *args)) == on
    # Some charts leave the command to the image, or have all in the command.
    assert switches(deployment(*GO, *args, command=None)) == on
    assert switches(deployment(command=("/manager", *GO, *args))) == on


def test_it_is_known_by_its_command_or_by_name_or_label() -> None:
    on = "--enable-mlflow"
    assert switches(deployment(on, name="renamed"))
    assert switches(deployment(on, name="rossoctl-controller-manager", command=None))
    label = {"control-plane": "controller-manager"}
    assert switches(deployment(on, name="renamed", command=("/operator",), labels=label))
    assert not switches(deployment(on, name="some-service", command=("/serve",)))


@pytest.mark.parametrize(
    "ours",
    [
        deployment(*OURS, command=None),
        deployment(*OURS, command=None, name="kagenti-traces-operator"),
        deployment(
            *OURS, command=("/usr/bin/kagenti-operator",), labels={"control-plane": "controller-manager"}
        ),
        deployment(*OURS, command=("python", "-m", "kagenti_operator.cli.main")),
        deployment(command=None),
    ],
    ids=["default names", "beside", "labelled", "as a module", "nothing known"],
)
def test_this_operator_is_never_taken_for_it(ours: Workload) -> None:
    assert switches(ours) == set()
    assert not is_platform_operator(ours)


def test_one_that_is_scaled_down_writes_nothing() -> None:
    assert switches(deployment("--enable-mlflow", replicas=0)) == set()
    assert is_platform_operator(deployment("--enable-mlflow", replicas=0))


def test_each_switch_is_reported_once_with_what_to_do_on_both_sides() -> None:
    writers = find_writers(
        [deployment("--enable-mlflow"), deployment("--enable-mlflow", name="controller-manager")]
    )
    (report,) = report_writers(writers)
    assert report.reason == "MLflowWrittenByPlatform"
    assert "kagenti-system/" in report.message
    assert "--enable-mlflow" in report.message
    assert "(mlflow.enable=false)" in report.message


SETTINGS = Settings(enable_mlflow=True, enable_otel_bootstrap=True)


def look(dependencies: Dependencies, *found: Workload) -> tuple[bool, bool, bool]:
    """What rests: MLflow, the collector's experiment, its configuration."""
    PlatformOperator(dependencies)
    informer = dependencies.informers.all()[0]
    put(informer, *found)
    rests = dependencies.suspended
    return rests.mlflow.value, rests.experiment.value, rests.configuration.value


@pytest.mark.parametrize(
    ("settings", "args", "resting"),
    [
        (SETTINGS, (), (False, False, False)),
        (SETTINGS, ("--enable-mlflow", "--enable-otel-bootstrap"), (True, True, True)),
        # Our configuration needs the experiment's id.
        (SETTINGS, ("--enable-mlflow",), (True, False, False)),
        (SETTINGS, ("--enable-otel-bootstrap",), (False, False, True)),
        (Settings(enable_mlflow=True), ("--enable-mlflow",), (True, True, False)),
        # What is not switched on here has one writer.
        (Settings(enable_otel_bootstrap=True), ("--enable-mlflow",), (False, False, False)),
    ],
)
async def test_what_it_writes_rests_and_nothing_else(
    settings: Settings, args: tuple[str, ...], resting: tuple[bool, bool, bool]
) -> None:
    async with open_dependencies(settings) as dependencies:
        assert look(dependencies, deployment(*GO, *args)) == resting


async def test_it_goes_on_when_the_other_is_switched_off() -> None:
    async with open_dependencies(SETTINGS) as dependencies:
        found = PlatformOperator(dependencies)
        put(found.deployments, deployment("--enable-mlflow"))
        assert dependencies.suspended.mlflow.value
        assert "--enable-mlflow" in (found.note() or "")
        put(found.deployments, deployment("--enable-mlflow=false"))
        assert not dependencies.suspended.mlflow.value
        assert found.note() is None


async def test_events_are_on_the_operators_own_deployment() -> None:
    settings = Settings(own_namespace="traces", enable_mlflow=True)
    async with open_dependencies(settings) as dependencies:
        own = OwnDeployment(dependencies)
        put(own.informer, deployment("--enable-mlflow", namespace="traces"))
        assert own.reference is None
        put(own.informer, deployment(*OURS, command=None, namespace="traces"))
        assert own.reference is not None
        assert own.reference.namespace == "traces"
