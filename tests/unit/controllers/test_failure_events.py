"""Which refusals become Events, and in words that are the same each time."""

import pytest

from kagenti_operator.controllers.failure_events import describe_refusal
from kagenti_operator.kube.errors import ApiError, StatusCause

TERMINATING = StatusCause(reason="NamespaceTerminating")


@pytest.mark.parametrize(
    "error",
    [
        ApiError("apply Role a/b", status=409, reason="Conflict", message="the object has been modified"),
        ApiError("apply Role a/b", status=404, reason="NotFound", message='namespaces "a" not found'),
        ApiError("apply Role a/b", status=403, reason="Forbidden", causes=(TERMINATING,)),
        ApiError("apply Role a/b", status=429, reason="TooManyRequests", retry_after=1),
        ApiError("apply Role a/b", status=503, reason="ServiceUnavailable"),
        ApiError("apply Role a/b", status=504, reason="Timeout"),
    ],
    ids=str,
)
def test_what_passes_by_itself_is_for_the_log_alone(error: ApiError) -> None:
    assert describe_refusal(error) is None


@pytest.mark.parametrize("status", [400, 403, 422, 500])
def test_what_lasts_is_reported_in_the_servers_words(status: int) -> None:
    error = ApiError("apply Role a/b", status=status, reason="Because", message="of this")
    assert describe_refusal(error) == f"apply Role a/b: {status} Because: of this"


def test_a_webhook_that_does_not_answer_is_reported_in_the_same_words_each_time() -> None:
    def failed(port: int) -> ApiError:
        cause = f'Post "https://policies.tools.svc:443/": read tcp 10.0.0.1:{port}->10.0.0.2:443: EOF'
        message = (
            f'Internal error occurred: failed calling webhook "policies.example.com": failed to call: {cause}'
        )
        return ApiError("apply Role a/b", status=500, reason="InternalError", message=message)

    assert describe_refusal(failed(40001)) == describe_refusal(failed(40002))
    assert describe_refusal(failed(40001)) == 'apply Role a/b: failed calling webhook "policies.example.com"'
