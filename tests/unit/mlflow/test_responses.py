"""What MLflow's refusals become: an error of the right kind, and advice that a person can follow."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kagenti_operator.mlflow.errors import MLflowError, MLflowUnreachable, MLflowUntrusted
from kagenti_operator.mlflow.responses import Request, build_refusal, is_absence


def request(workspace: str | None = "team1") -> Request:
    return Request(
        method="POST",
        url="https://mlflow.svc:8443/api/2.0/mlflow/experiments/create",
        workspace=workspace,
        doing="create experiment 'weather'",
        verb="create",
        body={"name": "weather"},
    )


def refusal(status: int, body: Any, *, workspace: str | None = "team1", **headers: str) -> MLflowError:
    content = body if isinstance(body, bytes) else json.dumps(body).encode()
    return build_refusal(request(workspace), status, headers, content, None)


def test_mlflows_own_shape_is_read() -> None:
    error = refusal(400, {"error_code": "INVALID_PARAMETER_VALUE", "message": "No name."})
    assert error.code == "INVALID_PARAMETER_VALUE"
    assert str(error) == (
        "MLflow did not create experiment 'weather' in workspace 'team1' "
        "(400 INVALID_PARAMETER_VALUE): No name."
    )


@pytest.mark.parametrize("shape", [{"error_code": "X" * 1000}, {"error": {"code": "X" * 1000}}])
def test_what_it_says_is_bounded_and_on_one_line(shape: dict[str, Any]) -> None:
    said = "no\x1b[2J\n" + "x" * 10**6 + " eyJhbGciOiJSUzI1NiJ9.eyJzdWIiOiJzeXN0ZW0ifQ.c2lnbmF0dXJl"
    inner = shape.get("error", shape)
    inner["message"] = said
    error = refusal(400, shape)
    assert "no\\x1b[2J xxx" in str(error)
    assert len(str(error)) < 1000


def test_a_page_with_a_token_in_it_is_not_cut_within_the_token() -> None:
    for before in range(150, 210):
        page = b"<html>" + b"x" * before + b" eyJhbGciOiJSUzI1NiJ9.eyJzdWIiOiJzeXN0ZW0ifQ.c2lnbmF0dXJl"
        assert "eyJhbG" not in str(refusal(400, page))


def test_the_shape_of_its_authorization_is_read() -> None:
    error = refusal(403, {"error": {"code": "PERMISSION_DENIED", "message": "Permission denied."}})
    assert error.code == "PERMISSION_DENIED"
    assert "Grant verb 'create' on experiments.mlflow.kubeflow.org in namespace 'team1'" in str(error)
    # Its name is another one on the platform's other name, and with fullnameOverride.
    assert "ending in -mlflow-client" in str(error)
    assert "kagenti-mlflow-client" not in str(error)
    assert "may remember a refusal" in str(error)


@pytest.mark.parametrize(
    ("status", "body", "workspace", "advice"),
    [
        (401, {"error": {"code": "UNAUTHENTICATED", "message": "bad token"}}, "team1", "operator's token"),
        (403, b"Invalid Host header - possible DNS rebinding attack detected", "team1", "--allowed-hosts"),
        (
            400,
            {"error": {"code": "INVALID_PARAMETER_VALUE", "message": "Workspace context is required."}},
            None,
            "Configure a workspace",
        ),
        (
            404,
            {
                "error_code": "RESOURCE_DOES_NOT_EXIST",
                "message": "Workspace 'team1' not found in the cluster",
            },
            "team1",
            "A workspace is a namespace: create 'team1'",
        ),
        (404, b"<!doctype html><title>404 Not Found</title>", "team1", "is not MLflow's REST API"),
        (
            404,
            {"error": {"code": "ENDPOINT_NOT_FOUND", "message": "Endpoint not found."}},
            "team1",
            "REST API",
        ),
        (
            503,
            {"error_code": "FEATURE_DISABLED", "message": "workspaces are not enabled on this server"},
            "team1",
            "leave the workspace unconfigured",
        ),
    ],
)
def test_a_refusal_says_what_to_do(status: int, body: Any, workspace: str | None, advice: str) -> None:
    assert advice in str(refusal(status, body, workspace=workspace))


def test_a_login_page_is_named_as_what_it_may_be() -> None:
    error = refusal(302, b"", Location="https://login.example.com/?state=4711")
    assert "it points to https://login.example.com/." in str(error)
    assert error.code == "REDIRECT"
    assert "https://login.example.com/" in str(error)
    assert "login page" in str(error)


@pytest.mark.parametrize(("status", "retryable"), [(400, False), (403, False), (404, False), (302, False)])
def test_what_does_not_go_away_is_not_tried_again(status: int, retryable: bool) -> None:
    assert refusal(status, {}).retryable is retryable


@pytest.mark.parametrize("status", [429, 500, 502, 503, 504])
def test_what_may_go_away_is(status: int) -> None:
    assert refusal(status, {}).retryable


def test_networks_come_back_but_certificates_do_not_change_by_themselves() -> None:
    assert MLflowUnreachable("no route").retryable
    assert not MLflowUntrusted("unknown CA").retryable


def test_a_missing_experiment_is_no_missing_workspace() -> None:
    missing = {"error_code": "RESOURCE_DOES_NOT_EXIST", "message": "No Experiment with id=7 exists"}
    assert is_absence(request(), refusal(404, missing))
    elsewhere = {"error_code": "RESOURCE_DOES_NOT_EXIST", "message": "Workspace 'team1' not found"}
    assert not is_absence(request(), refusal(404, elsewhere))


@given(
    st.integers(300, 599),
    st.binary()
    | st.recursive(st.none() | st.text() | st.integers(), st.lists).map(lambda it: json.dumps(it).encode()),
    st.none() | st.text(min_size=1),
)
def test_any_answer_becomes_an_error_for_people(status: int, body: bytes, workspace: str | None) -> None:
    error = build_refusal(request(workspace), status, {}, body, None)
    assert error.status == status
    assert str(error).startswith("MLflow did not create experiment 'weather'")
