"""What is read out of an MLflow CR's status."""

from datetime import UTC, datetime
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from kagenti_operator.kube.objects.models import MLflow
from kagenti_operator.mlflow import status

ADDRESS = "https://mlflow.redhat-ods-applications.svc:8443"
GATEWAY = "https://gateway.example.com/mlflow"


def cr(address: str | None = None, url: str | None = None, **status_: Any) -> MLflow:
    found: dict[str, Any] = dict(status_)
    if address is not None:
        found["address"] = {"url": address}
    if url is not None:
        found["url"] = url
    return msgspec.convert({"metadata": {"name": "mlflow"}, "status": found}, MLflow)


NO_STATUS = msgspec.convert({"metadata": {"name": "mlflow"}}, MLflow)


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        (GATEWAY, f"{GATEWAY}/v1/traces"),
        (f"{GATEWAY}/", f"{GATEWAY}/v1/traces"),
        ("gateway", None),
        (None, None),
    ],
)
def test_the_gateway_takes_spans_below_its_path(url: str | None, expected: str | None) -> None:
    assert status.gateway_traces_url(cr(ADDRESS, url)) == expected


def test_clients_are_given_what_the_status_has_as_it_is() -> None:
    assert status.gateway(cr(ADDRESS, f"{GATEWAY}/")) == f"{GATEWAY}/"
    assert status.address(cr(f"{ADDRESS}/mlflow")) == f"{ADDRESS}/mlflow"
    assert status.gateway(cr(ADDRESS, "gateway")) is None


def test_the_operator_asks_the_address_else_the_gateway_under_its_path() -> None:
    assert status.rest_url(cr(f"{ADDRESS}/mlflow/", GATEWAY)) == f"{ADDRESS}/mlflow"
    assert status.rest_url(cr(None, f"{GATEWAY}/")) == GATEWAY


def test_people_are_shown_the_gateway_only() -> None:
    assert status.dashboard_url(cr(ADDRESS, GATEWAY)) == f"{GATEWAY}/"
    assert status.dashboard_url(cr(ADDRESS, f"{GATEWAY}/")) == f"{GATEWAY}/"
    assert status.dashboard_url(cr(ADDRESS)) is None


@pytest.mark.parametrize(
    ("conditions", "available"),
    [
        (None, False),
        ([], False),
        ([{"type": "Available", "status": "True"}], True),
        ([{"type": "Available", "status": "False"}], False),
        ([{"type": "Available", "status": "Unknown"}], False),
        ([{"type": "Progressing", "status": "True"}], False),
        ([{"type": "Progressing", "status": "False"}, {"type": "Available", "status": "True"}], True),
    ],
)
def test_available_is_what_the_condition_says(
    conditions: list[dict[str, str]] | None, available: bool
) -> None:
    assert status.is_available(cr(conditions=conditions)) is available


def test_a_cr_without_status_has_nothing() -> None:
    assert not status.is_available(NO_STATUS)
    assert status.malformed_urls(NO_STATUS) == ()
    for read in (status.gateway_traces_url, status.gateway, status.rest_url, status.dashboard_url):
        assert read(NO_STATUS) is None


@pytest.mark.parametrize(
    "malformed",
    [
        "mlflow.svc:8443",
        "//mlflow.svc",
        "ftp://mlflow.svc",
        "https://",
        "https://mlflow.svc:port",
        "https://mlflow.svc:0",
        "https://mlflow.svc:99999",
        "https://mlflow.svc/a b",
        "https://mlflow.svc/\nx-header: y",
        "https://[fd00::1",
        "https://ml{flow:8443",
        "https://mlflow\\evil",
        "https://$HOME",
        "https://${env:MLFLOW_CLIENT_SECRET}/",
        "https://mlflow.svc/%zz",
        "https://mlflow.svc/a\x1b[2J",
        "https://-mlflow.svc",
        "https://mlflöw.example",
    ],
)
def test_a_malformed_url_counts_as_unset_and_is_reported(malformed: str) -> None:
    broken = cr(malformed, malformed)
    for read in (status.gateway_traces_url, status.gateway, status.rest_url, status.dashboard_url):
        assert read(broken) is None
    address, gateway = status.malformed_urls(broken)
    assert address.startswith(f"status.address.url of MLflow mlflow is {malformed!r}")
    assert gateway.startswith(f"status.url of MLflow mlflow is {malformed!r}")


@pytest.mark.parametrize(
    ("url", "reported"),
    [
        ("https://user:secret@mlflow.svc", "carries credentials"),
        ("https://user:secret@mlflow.svc:port", "carries credentials"),
        ("https://user:secret@[fd00::1", "carries credentials"),
        ("https://user:also/secret@mlflow.svc", "not shown here"),
        ("user:secret@mlflow.svc", "not shown here"),
    ],
)
def test_a_password_in_a_url_is_neither_used_nor_shown(url: str, reported: str) -> None:
    broken = cr(url, url)
    for read in (status.gateway_traces_url, status.gateway, status.rest_url, status.dashboard_url):
        assert read(broken) is None
    for problem in status.malformed_urls(broken):
        assert reported in problem
        assert "secret" not in problem


@given(st.none() | st.text(), st.none() | st.text())
def test_any_status_can_be_read(address: str | None, url: str | None) -> None:
    read = cr(address, url)
    traces = status.gateway_traces_url(read)
    assert traces is None or traces.endswith("/v1/traces")
    assert (status.rest_url(read) is None) == (status.gateway(read) is None and status.address(read) is None)


@pytest.mark.parametrize(
    ("conditions", "expected"),
    [
        ([], None),
        ([{"type": "Available", "status": "True"}], None),
        ([{"type": "Available", "status": "True", "lastTransitionTime": "yesterday"}], None),
        ([{"type": "Available", "status": "True", "lastTransitionTime": "2026-01-01T00:00:00"}], None),
        ([{"type": "Available", "status": "False", "lastTransitionTime": "2026-01-01T00:00:00Z"}], None),
        (
            [{"type": "Available", "status": "True", "lastTransitionTime": "2026-01-01T00:00:00Z"}],
            datetime(2026, 1, 1, tzinfo=UTC),
        ),
    ],
)
def test_since_when_it_is_available(conditions: list[dict[str, str]], expected: datetime | None) -> None:
    assert status.available_since(cr(conditions=conditions)) == expected
