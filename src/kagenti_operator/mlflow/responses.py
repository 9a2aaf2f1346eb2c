"""What MLflow's answers mean: both shapes of its errors, and what a person can do about each."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import msgspec

from kagenti_operator import bounded_json
from kagenti_operator.mlflow.errors import MLflowError
from kagenti_operator.plain_text import excerpt

ALREADY_EXISTS = "RESOURCE_ALREADY_EXISTS"
DOES_NOT_EXIST = "RESOURCE_DOES_NOT_EXIST"
_MAX_CODE = 64
_MAX_TEXT = 500
# Of what is no answer of MLflow's, such as a page of HTML.
_MAX_FOREIGN = 200


@dataclass(frozen=True, kw_only=True)
class Request:
    """One call: `doing` says it in words, and `verb` is the right on experiments that it takes."""

    method: str
    url: str
    workspace: str | None
    doing: str
    verb: str
    params: Mapping[str, str] | None = None
    body: Mapping[str, Any] | None = None


class _AuthorizationError(msgspec.Struct):
    code: str = ""
    message: str = ""


class _ErrorAnswer(msgspec.Struct):
    error_code: str = ""
    message: str = ""
    error: _AuthorizationError | None = None


def decode_answer[T](request: Request, body: bytes, model: type[T]) -> T:
    """Decode a successful answer; raises MLflowError where MLflow would not have said that."""
    try:
        return bounded_json.decode(body, model)
    except msgspec.DecodeError as error:
        raise MLflowError(
            200,
            "NOT_MLFLOW",
            f"asked to {request.doing}, {request.url} answers what MLflow would not ({error}): "
            "check the address in the MLflow CR's status",
        ) from error


def build_refusal(
    request: Request, status: int, headers: Mapping[str, str], body: bytes, retry_after: float | None
) -> MLflowError:
    """The error for an answer that is no success."""
    code, said = _read_error(headers, body)
    where = f" in workspace '{request.workspace}'" if request.workspace is not None else ""
    message = f"MLflow did not {request.doing}{where} ({status} {code}): {said.rstrip('. ')}."
    advice = _advice(request, status, code, said)
    return MLflowError(status, code, f"{message} {advice}".rstrip(), retry_after=retry_after)


def is_absence(request: Request, error: MLflowError) -> bool:
    """Whether the experiment does not exist; MLflow has the same code for a missing workspace."""
    return error.code == DOES_NOT_EXIST and not _names_workspace(request, error.message)


def _names_workspace(request: Request, said: str) -> bool:
    return f"Workspace '{request.workspace}' not found" in said


def _read_error(headers: Mapping[str, str], body: bytes) -> tuple[str, str]:
    try:
        answer = bounded_json.decode(body, _ErrorAnswer)
    except msgspec.DecodeError:
        answer = _ErrorAnswer()
    if answer.error is not None:
        return _clean(answer.error.code, answer.error.message)
    if answer.error_code:
        return _clean(answer.error_code, answer.message)
    if location := headers.get("Location"):
        # The query may be another at each try, such as a login's `state`: it is one trouble, not many.
        return "REDIRECT", f"it points to {excerpt(location.partition('?')[0], _MAX_FOREIGN)}"
    return "UNKNOWN", excerpt(body, _MAX_FOREIGN) or "no explanation"


def _clean(code: str, message: str) -> tuple[str, str]:
    return excerpt(code, _MAX_CODE) or "UNKNOWN", excerpt(message, _MAX_TEXT)


def _advice(request: Request, status: int, code: str, said: str) -> str:
    match status:
        case 401:
            return (
                "It does not take the operator's token: check that the token is of the cluster that MLflow "
                "asks, and that it has not expired."
            )
        case 403 if "Invalid Host header" in said:
            return "MLflow has to be started with --allowed-hosts that name the host of this address."
        case 403 if request.workspace is not None:
            return (
                f"Grant verb '{request.verb}' on experiments.mlflow.kubeflow.org in namespace "
                f"'{request.workspace}' to the account whose token the operator sends MLflow "
                "(the chart's ServiceAccount ending in -mlflow-client, unless Event MLflowTokenNotRequested "
                "says otherwise), as ClusterRole "
                "mlflow-operator-mlflow-integration does; MLflow may remember a refusal for 5 minutes."
            )
        case 404 if _names_workspace(request, said):
            return (
                f"A workspace is a namespace: create '{request.workspace}', or configure one that MLflow "
                "shows (it leaves out kube-*, openshift-* and redhat-ods-*)."
            )
        case 404 if code != DOES_NOT_EXIST:
            return f"{request.url} is not MLflow's REST API: check the address in the MLflow CR's status."
        case _ if code == "FEATURE_DISABLED":
            return "This MLflow has no workspaces: leave the workspace unconfigured."
        case _ if request.workspace is None and "workspace" in said.lower():
            return "Configure a workspace (the chart's value mlflow.workspace, flag --mlflow-workspace)."
        case _ if code == "REDIRECT":
            return "That may be a login page: the operator needs an address that takes its token."
        case _:
            return ""
