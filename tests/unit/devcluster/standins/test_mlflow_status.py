"""The status that the MLflow operator's stand-in reports, and when it migrates."""

from datetime import UTC, datetime
from typing import Any

import msgspec
import pytest

from kagenti_devcluster.profiles import DEFAULT, PROFILES, Profile
from kagenti_devcluster.standins.mlflow_migration import is_needed
from kagenti_devcluster.standins.mlflow_status import build_status
from kagenti_devcluster.standins.resources import Job, MLflowInstance, Server

NOW = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
LATER = datetime(2027, 1, 1, tzinfo=UTC)
MIGRATED = {
    "type": "Migration",
    "status": "True",
    "observedGeneration": 4,
    "lastTransitionTime": "2026-01-01T00:00:00Z",
}
SERVED: dict[str, Any] = {"version": DEFAULT.mlflow, "conditions": [MIGRATED]}


def server(*, ready: int, replicas: int = 1, generation: int = 2, observed: int = 2) -> Server:
    raw: dict[str, Any] = {
        "metadata": {"name": "mlflow", "generation": generation},
        "spec": {"replicas": replicas},
        "status": {"observedGeneration": observed, "readyReplicas": ready},
    }
    return msgspec.convert(raw, Server)


def job(**status: Any) -> Job:
    return msgspec.convert({"metadata": {"name": "mlflow-mg-3140-g4"}, "status": status}, Job)


FAILED = job(conditions=[{"type": "Failed", "status": "True", "message": "it did not work"}])


def cr(spec: dict[str, Any] | None = None, **status: Any) -> MLflowInstance:
    raw = {"metadata": {"name": "mlflow", "generation": 4}, "spec": spec or {}, "status": status}
    return msgspec.convert(raw, MLflowInstance)


def status_of(
    found: MLflowInstance,
    at: Server | None,
    done: Job | None = None,
    *,
    profile: Profile = DEFAULT,
    now: datetime = NOW,
    gateway_url: str | None = None,
) -> dict[str, Any]:
    return build_status(found, profile, at, done, now=now, gateway_url=gateway_url)


def condition(status: dict[str, Any], kind: str = "Available") -> tuple[str, str, str]:
    found = next(c for c in status["conditions"] if c["type"] == kind)
    return found["status"], found["reason"], found["message"]


@pytest.mark.parametrize(
    ("found", "wanted"),
    [
        (None, ("False", "MLflow deployment not ready: 0/1 replicas ready")),
        (server(ready=0), ("False", "MLflow deployment not ready: 0/1 replicas ready")),
        (server(ready=1), ("True", "MLflow deployment is ready and available")),
        (server(ready=1, replicas=2), ("False", "MLflow deployment not ready: 1/2 replicas ready")),
        (server(ready=1, observed=1), ("False", "MLflow deployment not ready: 0/1 replicas ready")),
        (server(ready=0, replicas=0), ("False", "MLflow deployment scaled to zero")),
    ],
)
def test_available_says_whether_the_deployment_is(found: Server | None, wanted: tuple[str, str]) -> None:
    status, _, message = condition(status_of(cr(**SERVED), found))
    assert (status, message) == wanted


def test_before_the_database_is_migrated_nothing_is_available_but_the_address_is_known() -> None:
    status = status_of(cr(), None)
    message = "Waiting for migration Job mlflow-mg-3140-g4 to finish"
    assert condition(status) == ("False", "MigrationRunning", message)
    assert condition(status, "Progressing") == ("True", "MigrationRunning", message)
    assert condition(status, "Migration") == ("False", "MigrationRunning", message)
    assert status["address"] == {"url": "https://mlflow.redhat-ods-applications.svc:8443/mlflow"}
    assert status["version"] is None


def test_the_version_is_reported_once_the_database_is_migrated() -> None:
    status = status_of(cr(), None, job(succeeded=1))
    assert status["version"] == "3.14.0"
    assert condition(status, "Migration")[:2] == ("True", "MigrationSucceeded")


def test_a_migration_that_failed_is_reported_with_its_reason() -> None:
    status = status_of(cr(), None, FAILED)
    for kind in ("Available", "Progressing", "Migration"):
        assert condition(status, kind) == ("False", "MigrationFailed", "it did not work")


def test_pods_that_still_serve_are_waited_for() -> None:
    status = status_of(cr(version="3.10.1", conditions=[MIGRATED]), server(ready=1))
    assert condition(status)[:2] == ("False", "MigrationScalingDown")


@pytest.mark.parametrize(
    ("found", "needed"),
    [
        (cr(), True),
        (cr(**SERVED), False),
        (cr(conditions=[MIGRATED], version="3.10.1"), True),
        (cr({"migration": {"mode": "Always"}}, **SERVED), False),
        (
            cr(
                {"migration": {"mode": "Always"}},
                version="3.14.0",
                conditions=[{**MIGRATED, "observedGeneration": 3}],
            ),
            True,
        ),
        (
            cr(
                {"migration": {"mode": "Automatic"}},
                version="3.14.0",
                conditions=[{**MIGRATED, "observedGeneration": 3}],
            ),
            False,
        ),
    ],
)
def test_a_migration_is_needed_for_another_release_and_where_it_is_asked_for(
    found: MLflowInstance, needed: bool
) -> None:
    assert is_needed(found, DEFAULT, None) is needed


def test_the_first_release_reports_no_version_and_an_address_without_a_path() -> None:
    status = status_of(cr(conditions=[MIGRATED]), server(ready=1), profile=PROFILES["openshift-ai-3.4"])
    assert condition(status)[0] == "True"
    assert status["version"] is None
    assert status["address"] == {"url": "https://mlflow.redhat-ods-applications.svc:8443"}


def test_the_url_stays_unset_without_a_gateway() -> None:
    assert status_of(cr(), server(ready=1))["url"] is None
    status = status_of(cr(), None, gateway_url="https://gateway/mlflow")
    assert status["url"] == "https://gateway/mlflow"


def test_a_condition_remembers_since_when_it_holds() -> None:
    first = status_of(cr(), server(ready=1), job(succeeded=1))
    assert status_of(cr(**first), server(ready=1), now=LATER) == first
    down = status_of(cr(**first), server(ready=0), now=LATER)
    times = {c["type"]: c["lastTransitionTime"] for c in down["conditions"]}
    assert times["Available"] == "2027-01-01T00:00:00Z"
    assert times["Migration"] == "2026-01-02T03:04:05Z"
