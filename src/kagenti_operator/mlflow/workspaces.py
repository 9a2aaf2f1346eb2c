"""Which namespaces are workspaces, as far as the MLflow CR limits them by labels."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, cast

from kagenti_operator.kube.objects.models import MLflow
from kagenti_operator.mappings import as_mapping
from kagenti_operator.mlflow.errors import MLflowError

_OPERATORS = {"In": "{} in ({})", "NotIn": "{} notin ({})", "Exists": "{}", "DoesNotExist": "!{}"}


def describe_selector(mlflow: MLflow) -> str | None:
    """`spec.workspaceLabelSelector` as kubectl writes it; None where every namespace is a workspace."""
    selector = mlflow.spec.workspace_label_selector
    if isinstance(selector, str):
        return selector or None
    return ",".join(_requirements(as_mapping(selector))) or None


def explain_refusal(mlflow: MLflow, workspace: str, error: MLflowError) -> str | None:
    """A sentence for a namespace that MLflow does not know as a workspace because it lacks labels."""
    selector = describe_selector(mlflow)
    if selector is None or f"Workspace '{workspace}' not found" not in error.message:
        return None
    return (
        f"Only namespaces with the labels '{selector}' are workspaces (spec.workspaceLabelSelector of MLflow "
        f"{mlflow.metadata.name}): give namespace '{workspace}' these labels, or change the selector."
    )


def _requirements(selector: Mapping[str, Any]) -> Iterator[str]:
    yield from (f"{key}={value}" for key, value in as_mapping(selector.get("matchLabels")).items())
    expressions = selector.get("matchExpressions")
    for expression in cast("Sequence[object]", expressions) if isinstance(expressions, list) else ():
        found = as_mapping(expression)
        values = found.get("values")
        listed = ", ".join(map(str, cast("Sequence[object]", values) if isinstance(values, list) else ()))
        yield _OPERATORS.get(str(found.get("operator")), "{}").format(found.get("key"), listed)
