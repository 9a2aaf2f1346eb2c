"""Pure: what becomes of an agent, from what was observed."""

from collections.abc import Iterator, Sequence
from copy import replace
from functools import partial
from typing import Any

import msgspec

from kagenti_operator.contract import Names
from kagenti_operator.controllers.agents.access import (
    NOTHING_KEPT,
    Grantee,
    build_access,
    build_emptied,
    is_ours,
    what_to_keep,
    without_foreign_owners,
)
from kagenti_operator.controllers.agents.events import (
    report_gone,
    report_kept,
    report_unknown_inject,
    report_unseen,
)
from kagenti_operator.controllers.agents.foreign_bindings import report_flapped, report_foreign
from kagenti_operator.controllers.agents.injection import (
    Injection,
    InjectionPlan,
    is_marked,
    is_opted_out,
    plan_injection,
    unknown_inject_values,
)
from kagenti_operator.controllers.agents.keys import AgentKey, granted_role
from kagenti_operator.controllers.agents.last_look import Unseen
from kagenti_operator.controllers.agents.obstacles import (
    UNUSABLE,
    report_literal_references,
    report_obstacles,
)
from kagenti_operator.controllers.agents.rollout import Pending, report_rollout
from kagenti_operator.kube.manifests import Manifest
from kagenti_operator.kube.objects.agents import Agent
from kagenti_operator.kube.objects.rbac import Role, RoleBinding
from kagenti_operator.kube.resources import Resource
from kagenti_operator.mlflow.client import Experiment
from kagenti_operator.runtime.control.applier import differs
from kagenti_operator.runtime.telemetry.reporter import Report


class Observed(msgspec.Struct, frozen=True, kw_only=True):
    """Everything that decides about an agent.

    `agent`: its workload, None where that is gone. `served`: it is an agent, and did not opt out. `grantees`:
    the workloads that share its Role, this one included, as far as they are served. `experiments`: the names
    that these have to be granted; `common`: the experiment, where all have the same one, and `mlflow_uid`: of
    which MLflow's CR; `shared`: one of them has an experiment, be it by its id only, as an emptied Role has
    it. `doubtful`: by the caches it is no agent, and the API server says otherwise. `unseen`: one that shares
    its Role, and is in no cache. `foreign`: by these others grant its Role; `flapped`: for so many seconds it
    is not filled again, as such came and went. `taken`: its experiment is another's.
    `injection`: what it is to use, None while MLflow does not say. `gone`: nor will it, as MLflow is gone for
    good. `pending`: what was written into it and is not announced yet.
    """

    key: AgentKey
    resource: Resource[Any]
    agent: Agent | None
    served: bool
    grantees: tuple[Grantee, ...]
    role: Role | None
    binding: RoleBinding | None
    experiments: tuple[str, ...]
    common: Experiment | None
    injection: Injection | None
    mlflow_uid: str = ""
    doubtful: bool = False
    shared: bool = False
    unseen: Unseen | None = None
    foreign: tuple[RoleBinding, ...] = ()
    flapped: float = 0.0
    taken: bool = False
    gone: bool = False
    pending: Pending | None = None
    now: float = 0.0


class Grant(msgspec.Struct, frozen=True):
    """Role and RoleBinding to have. `replaced`: one to another Role, which the API refuses to change.

    `empty_role`: the binding has to be put right while the Role grants nothing.
    """

    role: Manifest
    binding: Manifest
    known_role: Role | None
    known_binding: RoleBinding | None
    replaced: RoleBinding | None
    empty_role: Manifest | None = None


class Inject(msgspec.Struct, frozen=True):
    """Apply this to the workload, which rolls it."""

    body: Manifest
    injection: Injection


class Release(msgspec.Struct, frozen=True):
    """Take everything that is ours out of the workload, which rolls it."""


class Plan(msgspec.Struct, frozen=True, kw_only=True):
    """What to do, in this order: revoke the binding, empty the Role or grant, change the workload, delete
    the Role.

    The right ends at once, also where the workload waits for its turn to roll, or may not be changed. The
    Role stays until the workload is clean: it is how a restarted operator knows that something is left to do.
    `empty`: the Role without what it grants, where others grant it and nothing else is done about it.
    `over`: nothing of the agent is left afterwards. `announce`: its pods have what was written, and can use
    it.
    """

    empty: Manifest | None = None
    grant: Grant | None = None
    revoke: bool = False
    change: Inject | Release | None = None
    over: bool = False
    announce: bool = False
    reports: tuple[Report, ...] = ()


def is_served(agent: Agent | None) -> bool:
    """Whether a workload is to have an experiment."""
    return agent is not None and not is_opted_out(agent)


def decide(names: Names, observed: Observed) -> Plan:
    """Decide by section 2.6 of the contract: access first, then the environment."""
    plan = _decide(names, observed)
    reports = plan.reports
    if observed.agent and observed.served:
        reports += tuple(_report_others(names, observed))
    # Who else shares the Role, and is known, sees to it; else it is emptied whatever is in doubt.
    others = plan.over and observed.grantees
    empty = plan_emptied(names, observed.role, observed.foreign) if not (plan.grant or others) else None
    return replace(plan, empty=empty, reports=reports)


def plan_emptied(names: Names, role: Role | None, foreign: Sequence[RoleBinding]) -> Manifest | None:
    """The Role without what it grants, where others grant it: that is right whatever else is known."""
    return build_emptied(names, role) if role and role.rules and foreign else None


def _report_others(names: Names, observed: Observed) -> Iterator[Report]:
    role = names.agent_role(observed.key.name)
    if observed.foreign:
        yield report_foreign(role, observed.foreign)
    elif observed.flapped:
        yield report_flapped(role)
    if observed.unseen and observed.unseen.problem:
        yield report_unseen(role, observed.unseen.key, observed.unseen.problem)


def _decide(names: Names, observed: Observed) -> Plan:
    agent = observed.agent
    if observed.doubtful:
        # Its event will come.
        return Plan()
    if agent is None or not observed.served:
        marked = agent is not None and is_marked(agent)
        return Plan(revoke=_may_revoke(observed), change=Release() if marked else None, over=True)
    if agent.metadata.deletion_timestamp:
        return Plan()
    unknown = unknown_inject_values(agent)
    reports = (report_unknown_inject(names, unknown),) if unknown else ()
    if observed.taken:
        change = Release() if is_marked(agent) else None
        return Plan(revoke=_may_revoke(observed), change=change, reports=reports)
    grant = plan_grant(names, observed)
    if observed.gone:
        # The grant stays, by which the experiment is known if MLflow should come back with its data.
        marked = is_marked(agent)
        reports += (report_gone(),) if marked else ()
        return Plan(grant=grant, change=Release() if marked else None, reports=reports)
    if observed.foreign or observed.flapped:
        return Plan(grant=grant, reports=reports)
    if grant is None or observed.injection is None:
        # Its pods may run under another account by the time that MLflow is back: a known grant follows.
        # Without a grant MLflow would refuse its pods, and remember that for minutes.
        return Plan(grant=grant, reports=reports)
    injection = plan_injection(names, agent, observed.resource, observed.injection)
    if injection.kept:
        reports += (report_kept(injection.kept, injection.left_out, nothing_left=injection.nothing_left),)
    change = _plan_change(agent, injection, observed.injection)
    obstacles = () if injection.nothing_left else _find_obstacles(agent, observed.injection, injection)
    reports += obstacles
    pending, rollout = observed.pending, None
    settled = pending is not None and change is None and agent.metadata.generation >= pending.generation
    if pending and settled:
        rollout = report_rollout(agent, observed.now - pending.since)
        reports += (rollout,) if rollout else ()
    unusable = any(report.reason == UNUSABLE for report in obstacles)
    announce = settled and agent.is_rolled_out and not unusable
    return Plan(grant=grant, change=change, announce=announce, reports=reports)


def _may_revoke(observed: Observed) -> bool:
    """Whether nobody is left who shares the Role: a twin of which nothing is known has no right yet."""
    return not (observed.experiments or observed.shared) and observed.unseen is None


def _find_obstacles(agent: Agent, injection: Injection, plan: InjectionPlan) -> tuple[Report, ...]:
    found = (report_obstacles(agent, injection, plan), report_literal_references(agent))
    return tuple(report for report in found if report)


def _plan_change(agent: Agent, plan: InjectionPlan, injection: Injection) -> Inject | Release | None:
    if plan.body:
        return Inject(plan.body, injection)
    return Release() if plan.nothing_left and is_marked(agent) else None


def plan_grant(names: Names, observed: Observed) -> Grant | None:
    """Plan Role and RoleBinding; None where no experiment is known yet, and nothing has to be emptied."""
    known, empty = bool(observed.experiments), bool(observed.foreign or observed.flapped)
    if not observed.grantees or not (known or (empty and observed.role)):
        return None
    current, common = observed.binding, observed.common
    kept = NOTHING_KEPT
    if observed.unseen:
        kept = what_to_keep(names, observed.role, current, observed.grantees, common)
    build = partial(
        build_access,
        names,
        observed.key,
        observed.experiments,
        observed.grantees,
        experiment=common,
        mlflow_uid=observed.mlflow_uid,
        kept=kept,
    )
    role, binding = build(empty=empty)
    fits = current is None or granted_role(current) == names.agent_role(observed.key.name)
    known_binding = without_foreign_owners(current) if fits else None
    filled = observed.role is not None and observed.role.rules
    # Whom a binding of that name lets in before the operator has seen to it is not the operator's choice.
    wrong = current is not None and not filled and differs(binding, known_binding)
    return Grant(
        role=role,
        binding=binding,
        known_role=without_foreign_owners(observed.role),
        known_binding=known_binding,
        # One that others made for another Role stays: the API server refuses the change, which is reported.
        replaced=None if fits or current is None or not is_ours(names, current) else current,
        empty_role=build(empty=True)[0] if wrong else None,
    )


def is_refilled(grant: Grant) -> bool:
    """Whether a Role is filled that granted nothing: who made a RoleBinding meanwhile held nothing for it."""
    was_empty = grant.empty_role or (grant.known_role and not grant.known_role.rules)
    return bool(was_empty and grant.role["rules"])


def revocable(names: Names, observed: Observed) -> RoleBinding | None:
    """The binding that goes when the agent's right goes; one of its name that others made is theirs."""
    binding = observed.binding
    return binding if binding and is_ours(names, binding) else None
