"""Pure: what people learn about their agents, as Events on the workloads."""

from collections.abc import Generator, Iterable
from contextlib import contextmanager

from kagenti_operator.contract import OPT_IN_WORDS, OPT_OUT_WORDS, Names
from kagenti_operator.controllers.agents.experiments import CollectorsUnknown
from kagenti_operator.controllers.agents.injection import Injection
from kagenti_operator.controllers.agents.keys import AgentKey
from kagenti_operator.controllers.agents.mlflow_turns import Postponed
from kagenti_operator.controllers.failure_events import describe_failure
from kagenti_operator.kube.errors import ApiError
from kagenti_operator.mlflow.errors import MLflowError
from kagenti_operator.plain_text import excerpt
from kagenti_operator.runtime.control.write_backoff import LAST, WritesReverted
from kagenti_operator.runtime.telemetry.reporter import Report

# What can only be judged while it is known what the agent is to use.
NEEDS_INJECTION = (
    "MLflowVariablesKept",
    "MLflowNotUsable",
    "MLflowReferenceNotExpanded",
    "MLflowNotRolledOut",
)
# Reasons of refused writes, each with what follows.
NOT_REVOKED = ("MLflowNotRevoked", "Its pods keep their access to the MLflow experiment")
NOT_EMPTIED = ("MLflowRoleNotEmptied", "Others keep what its Role grants")
NOT_GRANTED = ("MLflowNotGranted", "Its pods are not granted access to its MLflow experiment")
NOT_CONFIGURED = ("MLflowNotConfigured", "The pod template could not be changed")
# Of the kinds that keep a running pod when its template changes.
_RESTART = {"Sandbox": " A running pod goes on without: suspend and resume the Sandbox."}


# The client takes workspace and token for any server that a program names by itself.
_NAMED_IN_CODE = " An agent whose code names another server has to opt out: see 'Tokens' in docs/security.md."


def report_denied(key: AgentKey, found: Injection | MLflowError | None) -> Iterable[Report]:
    """MLflow did not make, find or show the agent's experiment."""
    # While it does not say which one is the collector's, an Event on its CR says why; a slow one may answer.
    if isinstance(found, MLflowError) and not isinstance(found, CollectorsUnknown | Postponed):
        yield Report(
            reason="ExperimentNotAvailable",
            message=f"Experiment '{key.name}' in workspace '{key.namespace}' could not be made or found: "
            f"{found}",
        )


def report_gone() -> Report:
    """MLflow's CR was deleted, and none came in its place."""
    return Report(
        reason="MLflowGone",
        message="There has been no MLflow for ten minutes (its custom resource is gone): the MLFLOW_* "
        "variables are taken out, because a client waits minutes for an address that is dead. They come back "
        "with MLflow.",
    )


def report_unknown_inject(names: Names, values: tuple[str, ...]) -> Report:
    """The annotation by which people opt out holds no word that is understood; the agent is served."""
    found = " and ".join(repr(excerpt(value, 40)) for value in values)
    return Report(
        reason="MLflowInjectNotUnderstood",
        message=f"Annotation {names.mlflow_annotation('inject')} is {found}, which is not understood, so "
        f"this workload is served as an agent. To opt out write one of {', '.join(OPT_OUT_WORDS)}; "
        f"to be served write {' or '.join(OPT_IN_WORDS)}, or take it away.",
    )


def report_unseen(role: str, twin: AgentKey, problem: str) -> Report:
    """A workload of another kind has the same name, and nobody knows what it is."""
    return Report(
        reason="MLflowRoleSharedWithUnreadable",
        message=f"{twin.kind} '{twin.name}' has the same name and shares Role '{role}', and cannot be read: "
        f"{excerpt(problem, 300)}. What it was granted stays until it can. Mend it, or delete it.",
    )


def report_kept(kept: tuple[str, ...], left_out: tuple[str, ...], *, nothing_left: bool = False) -> Report:
    """Variables that are the user's and win, and those of ours that do not go with them."""
    without = f"; {', '.join(left_out)} would not go with them and are left out" if left_out else ""
    if nothing_left:
        without = ", which would not go with them: nothing is put into this workload"
    return Report(
        reason="MLflowVariablesKept",
        message=f"{', '.join(kept)} set by the workload itself win over the operator's values{without}. "
        "Remove them to use the experiment that the operator made for this agent.",
    )


def report_reverted(names: Names) -> Report:
    """Another controller undoes each change of the workload."""
    return Report(
        reason="MLflowConfigurationUndone",
        message="Another controller keeps reverting MLFLOW_* variables and annotations of the pod template; "
        "each revert restarts the pods. The operator waits ever longer between its writes, and stops after "
        f"{LAST} until the workload changes otherwise. Exclude these fields there, or opt out "
        f'with annotation {names.mlflow_annotation("inject")}: "disabled".',
    )


def report_failure(reason: str, consequence: str, error: ApiError) -> tuple[Report, ...]:
    """The API server refused a write, where that lasts."""
    text = describe_failure(consequence, error)
    return (Report(reason=reason, message=text),) if text is not None else ()


@contextmanager
def failure_reported(reports: list[Report], reason: str, consequence: str) -> Generator[None]:
    """Add the report of a refusal that ends this block, and let it pass."""
    try:
        yield
    except WritesReverted as error:
        reports.append(Report(reason=reason, message=f"{consequence}: {error}."))
        raise
    except ApiError as error:
        reports += report_failure(reason, consequence, error)
        raise


def describe_configured(
    kind: str, injection: Injection, *, running: bool, collectors_workspace: str | None
) -> str:
    """The Event's text for a workload whose pods have their environment, or will when they are started.

    `collectors_workspace`: where all that goes through the collector is.
    """
    whose = "Traces and runs" if running else "Traces and runs of pods that start from now on"
    elsewhere = ""
    if collectors_workspace not in (None, injection.workspace):
        elsewhere = (
            f" Spans that go through the OpenTelemetry Collector instead are in workspace "
            f"'{collectors_workspace}', for everybody who may view that namespace."
        )
    return (
        f"{whose} go to experiment '{injection.experiment_name}' ({injection.experiment_id}) of "
        f"workspace '{injection.workspace}'.{elsewhere}{_RESTART.get(kind, '')}{_NAMED_IN_CODE}"
    )
