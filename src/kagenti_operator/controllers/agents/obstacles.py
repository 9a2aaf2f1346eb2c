"""Pure: why an agent's pods cannot use what the operator puts into them, as far as their template tells."""

from collections.abc import Collection, Iterator, Mapping
from urllib.parse import urlsplit

from kagenti_operator.contract import (
    AGENT_VARIABLES,
    AUTH_VARIABLE,
    SERVICE_ACCOUNT_FOLDER,
    URI_VARIABLE,
    WORKSPACE_VARIABLE,
)
from kagenti_operator.controllers.agents.injection import Injection, InjectionPlan
from kagenti_operator.http.service import service_of
from kagenti_operator.kube.objects.agents import Agent, AgentContainer
from kagenti_operator.runtime.telemetry.reporter import Report

UNUSABLE = "MLflowNotUsable"


def report_obstacles(agent: Agent, injection: Injection, plan: InjectionPlan) -> Report | None:
    """Report everything that keeps the pods from using MLflow; None where nothing does."""
    found: list[str] = []
    for container in agent.template.spec.containers:
        theirs = {*plan.kept, *plan.left_out}
        if f"{container.name}/{AUTH_VARIABLE}" not in theirs and _is_without_token(agent, container):
            found.append(
                f"{container.name} has no token to show: take automountServiceAccountToken: false out of the "
                f"pod template, or mount a token at {SERVICE_ACCOUNT_FOLDER}"
            )
        if f"{container.name}/{URI_VARIABLE}" not in theirs:
            found += _find_misdirection(container, injection, plan.kept)
    if not found:
        return None
    return Report(reason=UNUSABLE, message=f"Its client cannot use MLflow. {'. '.join(found)}.")


def report_literal_references(agent: Agent) -> Report | None:
    """Report variables that refer to ours and stand before them: the kubelet leaves `$(NAME)` as it is."""
    found = [
        f"{container.name}/{name}"
        for container in agent.template.spec.containers
        for name in _find_literal(container)
    ]
    if not found:
        return None
    return Report(
        reason="MLflowReferenceNotExpanded",
        message=f"{', '.join(found)} refer by $(...) to MLFLOW_* variables that stand after them, and are "
        "passed on as they are written. Read the MLFLOW_* variables in the program instead.",
    )


def _is_without_token(agent: Agent, container: AgentContainer) -> bool:
    return agent.template.spec.automount_service_account_token is False and not container.volume_mounts


def _find_misdirection(
    container: AgentContainer, injection: Injection, kept: Collection[str]
) -> Iterator[str]:
    existing = container.variables
    workspace = f"{container.name}/{WORKSPACE_VARIABLE}"
    # One that comes from elsewhere may name any.
    if workspace in kept and (value := existing.get(WORKSPACE_VARIABLE)) is not None:
        yield f"{workspace} is {value!r}, where its pods are granted nothing: remove that variable"
    if name := _find_proxy(existing, injection.tracking_uri):
        host = urlsplit(injection.tracking_uri).hostname
        yield f"{container.name}/{name} sends requests for {host} to a proxy: add .svc to NO_PROXY"


def _find_proxy(existing: Mapping[str, str | None], url: str) -> str | None:
    """The variable by which a client sends requests for an address in the cluster to a proxy.

    A gateway may well be behind one. What comes from elsewhere (None) may name any proxy, or cover any host.
    """
    parts = urlsplit(url)
    if service_of(url) is None or _covers(existing, parts.hostname or "", parts.netloc):
        return None
    for name in (f"{parts.scheme}_proxy", "all_proxy"):
        # As Python's clients have it, the lower case wins.
        spelling = name if name in existing else name.upper()
        if spelling in existing and existing[spelling] != "":
            return spelling
    return None


def _covers(existing: Mapping[str, str | None], host: str, netloc: str) -> bool:
    for spelling in ("no_proxy", "NO_PROXY"):
        if spelling not in existing:
            continue
        value = existing[spelling]
        if value is None:
            return True
        entries = [entry.strip().lower() for entry in value.split(",") if entry.strip()]
        if entries:
            return any(entry == "*" or host.endswith(entry) or netloc.endswith(entry) for entry in entries)
    return False


def _find_literal(container: AgentContainer) -> Iterator[str]:
    before: set[str] = set()
    for var in container.env or ():
        value = var.value or ""
        if "$(" in value and any(f"$({it})" in value for it in AGENT_VARIABLES if it not in before):
            yield var.name
        before.add(var.name)
