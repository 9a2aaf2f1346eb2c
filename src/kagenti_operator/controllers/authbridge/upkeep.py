"""Pure: what is done about a workload's file, and whether its pods have to be replaced."""

from dataclasses import dataclass

from kagenti_operator.controllers.authbridge.outcome import Injected, Outcome, Refused
from kagenti_operator.runtime.telemetry.reporter import Report

# What is recorded of pods that run without a sidecar.
NO_SIDECAR = "none"


@dataclass(frozen=True, kw_only=True)
class Observed:
    """A workload as it is.

    `rolled`: with which hash the operator last replaced its pods. `file_hash`: for which pods its file is,
    None where there is none. `recorded`: which hash all of its pods have, as far as that is recorded.
    `has_pods`: there are some. `template_changed`: the hash is another one than at the last look while all
    else that decides is as it was, so the pods are being replaced without the operator.
    """

    outcome: Outcome
    rolled: str = ""
    file_hash: str | None = None
    recorded: str = ""
    has_pods: bool = True
    template_changed: bool = False


@dataclass(frozen=True, kw_only=True)
class Plan:
    """`make`: there is no file, and pods without a sidecar. `write`: bring the file to what was decided.

    `record`: which hash all pods have, once that is so. `roll`: replace the pods, with this hash.
    """

    make: bool = False
    write: bool = False
    record: str = ""
    roll: str = ""
    reports: tuple[Report, ...] = ()


def plan_upkeep(observed: Observed) -> Plan:
    """Plan it. What is refused changes nothing: the pods that run keep the last good file."""
    outcome = observed.outcome
    reports = report_outcome(outcome)
    if not isinstance(outcome, Injected) or outcome.config is None:
        return Plan(reports=reports)
    wanted = outcome.restart_hash
    if observed.file_hash is None:
        if not observed.has_pods:
            # Admission writes it with the first pod.
            return Plan(reports=reports)
        # Its pods are from before, and the next ones find the file that is for them.
        return Plan(make=True, roll=wanted, reports=reports)
    # A file that is for other pods than the next ones is left to admission: replicas run on it.
    write = observed.file_hash == wanted
    if wanted in (observed.rolled, observed.recorded or observed.file_hash):
        record = wanted if observed.recorded not in ("", wanted) else ""
        return Plan(write=write, record=record, reports=reports)
    if observed.template_changed or not observed.has_pods:
        return Plan(write=write, record=wanted, reports=reports)
    return Plan(write=write, roll=wanted, reports=reports)


def report_outcome(outcome: Outcome) -> tuple[Report, ...]:
    """What people have to know before the next pod comes."""
    text = " ".join(f"{warning.removesuffix('.')}." for warning in outcome.warnings)
    found = (Report(reason="AuthBridgeWarning", message=text),) if text else ()
    if not isinstance(outcome, Refused):
        return found
    refused = Report(
        reason="AuthBridgeRefused",
        message=f"{outcome.message.removesuffix('.')}. Pods that run keep what they have; the next one is "
        "not admitted.",
        over="Pods are admitted with their sidecar again.",
    )
    return (*found, refused)
