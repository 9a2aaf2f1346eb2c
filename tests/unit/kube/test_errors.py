"""Refusals, as the API server and proxies on the way to it word them."""

import json
from typing import Any

from kagenti_operator.kube.errors import ApiError, Status, error_from_response, error_from_status
from tests.support.peer import status_object

WHAT = "apply RoleBinding team1/access"


def refusal(status: int, reason: str = "", **details: Any) -> ApiError:
    return error_from_response(
        WHAT, status, {}, json.dumps(status_object(status, reason, **details)).encode()
    )


def test_a_refusal_names_the_request_the_reason_and_the_servers_words() -> None:
    error = refusal(403, "Forbidden", message='User "x" cannot patch resource')
    assert str(error) == 'apply RoleBinding team1/access: 403 Forbidden: User "x" cannot patch resource'
    assert error.forbidden
    assert not error.namespace_terminating


def test_a_namespace_that_is_going_differs_from_a_missing_permission() -> None:
    cause = {"reason": "NamespaceTerminating", "message": "namespace team1 is being terminated", "field": "x"}
    error = refusal(403, "Forbidden", causes=[cause])
    assert error.forbidden
    assert error.namespace_terminating


def test_each_refusal_is_known_by_what_to_do_about_it() -> None:
    assert refusal(404, "NotFound").not_found
    assert refusal(410, "Expired").gone
    assert refusal(429, "TooManyRequests").too_many_requests
    assert refusal(409, "Conflict").conflict
    assert not refusal(409, "Conflict").already_exists
    exists = refusal(409, "AlreadyExists")
    assert exists.conflict
    assert exists.already_exists


def test_what_a_proxy_answers_instead_of_json_is_quoted_in_short() -> None:
    error = error_from_response(WHAT, 502, {}, b"<html>" + b"Bad Gateway" * 100)
    assert str(error).startswith("apply RoleBinding team1/access: 502: <html>Bad Gateway")
    assert len(str(error)) < 400


def test_a_token_in_what_a_proxy_answers_is_not_shown_wherever_it_is_cut() -> None:
    token = b"eyJhbGciOiJSUzI1NiJ9.eyJzdWIiOiJzeXN0ZW0ifQ.c2lnbmF0dXJl"
    for before in range(240, 310):
        assert "eyJhbG" not in str(error_from_response(WHAT, 502, {}, b"x" * before + b" " + token))


def test_what_the_api_server_says_is_bounded_and_on_one_line() -> None:
    error = refusal(422, "Invalid", message="name \x1b[31m\n" + "x" * 10**6)
    assert error.message.startswith("name \\x1b[31m xxx")
    assert len(error.message) <= 4096


def test_an_empty_refusal_still_makes_a_sentence() -> None:
    assert str(error_from_response(WHAT, 500, {}, b"")) == f"{WHAT}: 500: no explanation given"


def test_json_of_another_kind_is_not_taken_for_a_status() -> None:
    error = error_from_response(WHAT, 500, {}, b'["not", "a", "status"]')
    assert error.message == '["not", "a", "status"]'


def test_how_long_to_wait_comes_from_the_header_or_else_the_body() -> None:
    body = json.dumps(status_object(429, retryAfterSeconds=7)).encode()
    assert error_from_response(WHAT, 429, {"Retry-After": "3"}, body).retry_after == 3.0
    assert error_from_response(WHAT, 429, {}, body).retry_after == 7.0
    date = {"Retry-After": "Wed, 21 Oct 2026 07:28:00 GMT"}
    assert error_from_response(WHAT, 429, date, b"").retry_after is None


def test_a_refusal_inside_a_watch_is_worded_the_same() -> None:
    error = error_from_status("watch Deployment *", Status(code=410, reason="Expired", message="too old"))
    assert error.gone
    assert str(error) == "watch Deployment *: 410 Expired: too old"
