"""Agents, each by its key: an experiment of its own, granted to its pods, and put into its environment."""

from contextlib import nullcontext
from functools import partial
from typing import Any

from kagenti_operator import clock
from kagenti_operator.controllers.agents.access import Grantee
from kagenti_operator.controllers.agents.decide import (
    Grant,
    Inject,
    Observed,
    Plan,
    Release,
    decide,
    is_refilled,
    is_served,
    plan_emptied,
    revocable,
)
from kagenti_operator.controllers.agents.events import (
    NEEDS_INJECTION,
    NOT_CONFIGURED,
    NOT_EMPTIED,
    NOT_GRANTED,
    NOT_REVOKED,
    describe_configured,
    failure_reported,
    report_denied,
    report_reverted,
)
from kagenti_operator.controllers.agents.experiments import (
    AgentExperiments,
    CollectorsExperiments,
    CollectorsUnknown,
    ExperimentTaken,
    KnownExperiment,
    common_experiment,
    common_uid,
    names_to_grant,
)
from kagenti_operator.controllers.agents.facts import AgentFacts
from kagenti_operator.controllers.agents.foreign_bindings import (
    ForeignBindings,
    find_foreign_now,
    report_foreign,
)
from kagenti_operator.controllers.agents.further_accounts import FurtherAccounts
from kagenti_operator.controllers.agents.injection import Injection
from kagenti_operator.controllers.agents.keys import (
    AgentKey,
    agents_of_grant,
    key_of_agent,
    key_of_event,
    namespace_of,
    reference,
)
from kagenti_operator.controllers.agents.last_look import LastLook
from kagenti_operator.controllers.agents.mlflow_turns import MLflowTurns, Postponed
from kagenti_operator.controllers.agents.retry_after_denied import RetryAfterDenied
from kagenti_operator.controllers.agents.rollout import SLOW_SECONDS
from kagenti_operator.controllers.agents.rollout_slots import RolloutSlots
from kagenti_operator.controllers.agents.state import AgentStates
from kagenti_operator.controllers.agents.tracking_endpoint import Endpoint
from kagenti_operator.controllers.agents.workloads import AgentWorkloads
from kagenti_operator.controllers.dependencies import Dependencies
from kagenti_operator.kube.manifests import Manifest
from kagenti_operator.kube.objects.agents import Agent
from kagenti_operator.kube.objects.rbac import RoleBinding
from kagenti_operator.kube.resources import ROLE_BINDINGS, ROLES
from kagenti_operator.mlflow.errors import MLflowError
from kagenti_operator.requests_sent import counting, note_taken
from kagenti_operator.runtime.cache.object_cache import Event, Removed
from kagenti_operator.runtime.control.applier import CONFIRM_SECONDS, Applier
from kagenti_operator.runtime.control.controller import Controller
from kagenti_operator.runtime.control.workqueue import WorkQueue
from kagenti_operator.runtime.control.write_backoff import WriteBackoff, WritesReverted
from kagenti_operator.runtime.observable import Observable
from kagenti_operator.runtime.telemetry.reporter import Report, Reporter

NAME = "agents"
# At most so many calls to MLflow at once, and for one namespace, whose workspace may be slow.
WORKERS = 8
WORKERS_OF_NAMESPACE = 6
# How often a workload that is no agent any more is asked for while it rolls.
FOLLOW_SECONDS = 10.0
# How often an agent is asked for that shares a Role and cannot be read.
UNREADABLE_SECONDS = 60.0


def setup(
    dependencies: Dependencies,
    facts: AgentFacts,
    endpoint: Observable[Endpoint | None],
    gone: Observable[bool],
    collectors: CollectorsExperiments,
    further: FurtherAccounts | None = None,
) -> Controller[AgentKey]:
    """Watch the workloads and their grants; another address of MLflow, and its end, concern every agent."""
    queue = dependencies.queue(NAME, bucket=namespace_of, most_in_work=WORKERS_OF_NAMESPACE)
    reconciler = AgentsReconciler(dependencies, facts, endpoint, gone, queue, collectors, further)
    controller = dependencies.controller(NAME, reconciler.reconcile, queue=queue, workers=WORKERS)
    for kind, informer in facts.workloads.items():
        informer.subscribe(partial(reconciler.follow_rollout, kind))
        # A kind that cannot be listed holds up its own agents only.
        controller.watches(informer, partial(key_of_event, kind), needed=False)
    owners = partial(agents_of_grant, dependencies.settings.names)
    controller.watches(facts.roles, owners).watches(facts.bindings, owners)
    facts.bindings.subscribe(reconciler.foreign.follow)
    if further:
        controller.watches(further.of_cluster, lambda _: facts.all())
        controller.watches(further.of_namespace, lambda it: facts.of_namespace(it.object.metadata.name))
        controller.watches(further.within_namespace, lambda it: facts.of_name(it.object.metadata))
    controller.follows(gone, lambda: facts.all() if gone.value else ())
    # Agents that came while MLflow was away are looked at when it is back.
    controller.follows(endpoint, lambda: facts.all() if endpoint.value else ())
    workspace = dependencies.settings.mlflow_workspace
    controller.follows(collectors.resolved, lambda: (it for it in facts.all() if it.namespace == workspace))
    return controller.suspend_while(dependencies.suspended.mlflow)


class AgentsReconciler:
    """Observes an agent, has `decide` decide, and acts."""

    def __init__(
        self,
        dependencies: Dependencies,
        facts: AgentFacts,
        endpoint: Observable[Endpoint | None],
        gone: Observable[bool],
        queue: WorkQueue[AgentKey],
        collectors: CollectorsExperiments,
        further: FurtherAccounts | None = None,
    ) -> None:
        settings = dependencies.settings
        self._names = settings.names
        self._further = further
        self._collectors_workspace = settings.mlflow_workspace
        self._client = dependencies.client
        self._events = dependencies.events
        self._applier = Applier(dependencies.client)
        self._budget = dependencies.budget
        self._facts = facts
        self._endpoint = endpoint
        self._gone = gone
        self._queue = queue
        self._states = AgentStates(
            RolloutSlots(settings.max_concurrent_rolls, queue.add, bucket=namespace_of),
            RetryAfterDenied(queue.add, dependencies.rng),
            MLflowTurns(queue.add, queue.others_wait),
            WriteBackoff[AgentKey](),
            Reporter[AgentKey](dependencies.events, __name__),
        )
        self._experiments = AgentExperiments(
            settings, facts, dependencies.agents_mlflow, dependencies.rng, collectors, self._states.turns
        )
        self._workloads = AgentWorkloads(dependencies, facts, self._states)
        self._last_look = LastLook(dependencies.client, facts)
        self.foreign = ForeignBindings(self._names, dependencies.events)

    async def reconcile(self, key: AgentKey) -> float | None:
        """Bring one agent to what section 2.6 of the contract says."""
        facts = self._facts
        if facts.is_unknown(key):
            # It comes again when its kind is known; what is not in the cache may exist.
            await self._empty(plan_emptied(self._names, facts.role(key), facts.foreign_bindings(key)), key)
            return None
        try:
            with self._budget.spending(key, key.namespace, takes=partial(self._may_take, key)):
                found = await self._resolve(key)
                observed = await self._observe(key, found)
                return await self._act(observed, decide(self._names, observed), found)
        finally:
            self._states.slots.pass_on(key)
            self._states.turns.pass_on(key)

    def follow_rollout(self, kind: str, event: Event[Any]) -> None:
        """Give the place of an agent back when it is gone or its rollout is through."""
        agent = None if isinstance(event, Removed) else event.object
        self._states.slots.follow(key_of_agent(kind, event.object), agent)

    def _may_take(self, key: AgentKey) -> bool:
        """Whether all that is left to do may be to take something away, which waits for nothing."""
        return not is_served(self._facts.get(key)) or bool(self._facts.foreign_bindings(key))

    # --- observe ---------------------------------------------------------------------------------------

    async def _resolve(self, key: AgentKey) -> Injection | MLflowError | None:
        """What the agent is to use, or why MLflow does not say; None where it is not asked."""
        agent, endpoint = self._facts.get(key), self._endpoint.value
        if agent is None or endpoint is None or not is_served(agent) or agent.metadata.deletion_timestamp:
            return None
        before = self._recall(key, agent)
        if before is None and self._facts.foreign_bindings(key):
            # It would be asked for by its name, which is not known by the Role while that is empty.
            return None
        endpoint = endpoint.keeping(before.tracking_uri if before else None)
        # What is asked again of an experiment that is known is not the tenant's doing.
        uncharged = counting() if before else nullcontext()
        try:
            with uncharged:
                known = await self._experiments.resolve(key, agent, endpoint, before)
        except MLflowError as error:
            if isinstance(error, ExperimentTaken):
                self._states.get(key).experiment = None
            return error
        self._states.get(key).experiment = known
        self._states.denied.succeeded(key)
        return Injection(
            tracking_uri=endpoint.tracking_uri,
            experiment_id=known.experiment.id,
            experiment_name=known.experiment.name,
            workspace=key.namespace,
            service_ca=endpoint.service_ca,
        )

    def _recall(self, key: AgentKey, agent: Agent) -> KnownExperiment | None:
        state = self._states.get(key)
        state.experiment = state.experiment or self._experiments.recall(key, agent)
        return state.experiment

    def _recall_own(self, grantee: Grantee) -> KnownExperiment | None:
        known = self._recall(grantee.key, grantee.agent)
        return known and self._experiments.without_anothers_name(grantee.key, known)

    async def _observe(self, key: AgentKey, found: Injection | MLflowError | None) -> Observed:
        """Take a snapshot; also of a workload that left the cache, of which only the API server knows."""
        facts, states = self._facts, self._states
        agent, role, binding = facts.get(key), facts.role(key), facts.binding(key)
        grants = tuple(grant for grant in (role, binding) if grant)
        served, doubtful = is_served(agent), False
        resource = facts.resource(key)
        if not served:
            # Deleted, or no longer labelled, or opted out; or the cache is wrong.
            known = bool(states.known(key)) or states.slots.holds(key)
            agent, doubtful = await self._last_look.at(key, agent, grants, known=known)
        unseen = await self._last_look.unseen_twin(key, grants)
        if agent is not None and agent.metadata.deletion_timestamp and not served:
            agent = None
        grantees = tuple(
            Grantee(
                key=twin,
                resource=facts.resource(twin),
                agent=it,
                has_own_account=bool(self._further and self._further.is_given(twin.namespace, twin.name)),
            )
            for twin in facts.twins(key)
            if (it := facts.get(twin)) and is_served(it) and not it.metadata.deletion_timestamp
        )
        # After a restart the first of twins must not take what the Role has of the other.
        recalled = [self._recall_own(grantee) for grantee in grantees]
        return Observed(
            key=key,
            resource=resource,
            agent=agent,
            served=served,
            grantees=grantees,
            role=role,
            binding=binding,
            experiments=names_to_grant(recalled, clock.monotonic()),
            common=common_experiment(recalled),
            shared=any(recalled),
            doubtful=doubtful,
            unseen=unseen,
            foreign=facts.foreign_bindings(key),
            flapped=self.foreign.pause(key),
            mlflow_uid=common_uid(recalled),
            gone=self._gone.value and self._endpoint.value is None,
            taken=isinstance(found, ExperimentTaken),
            injection=found if isinstance(found, Injection) else None,
            pending=states.pending(key),
            now=clock.monotonic(),
        )

    # --- act -------------------------------------------------------------------------------------------

    async def _act(
        self, observed: Observed, plan: Plan, found: Injection | MLflowError | None
    ) -> float | None:
        key, agent = observed.key, observed.agent
        reports = [*plan.reports, *report_denied(key, found)]
        if observed.foreign and (observed.served or plan.empty):
            self.foreign.report(self._names.agent_role(key.name), observed.foreign)
        # While MLflow does not say what an agent is to use, nothing is known of what it could not use.
        unknown = () if observed.injection or plan.over else NEEDS_INJECTION
        wrote, reverted, wait = False, False, None
        if observed.injection and plan.change is None:
            self._states.writes.settled(key)
        try:
            wrote, wait = await self._carry_out(observed, plan, reports)
        except WritesReverted as error:
            # What else is to be done for the agent goes on.
            reverted, wait = True, error.retry_after
        finally:
            if self._states.writes.is_contested(key):
                reports.append(report_reverted(self._names))
            about = reference(key, agent) if agent else None
            self._states.reporter.report(key, about, reports, unknown=unknown)
        if plan.announce and not reverted:
            self._announce(observed)
        if observed.doubtful:
            return CONFIRM_SECONDS
        if observed.unseen:
            again = CONFIRM_SECONDS if observed.unseen.problem is None else UNREADABLE_SECONDS
            wait = min(wait or again, again)
        if observed.flapped:
            wait = min(wait or observed.flapped, observed.flapped)
        if plan.over:
            if wait is not None or reverted:
                return wait
            return self._forget(observed)
        if isinstance(found, CollectorsUnknown | Postponed):
            # What it waits for wakes it.
            return CONFIRM_SECONDS
        if isinstance(found, MLflowError):
            if found.retryable:
                raise found
            return self._states.denied.denied(key)
        known = self._states.known(key)
        if wait is None and known and found:
            wait = known.next_look(clock.monotonic())
        if pending := self._states.pending(key):
            # To see whether its pods take too long.
            late = pending.since + SLOW_SECONDS - clock.monotonic()
            wait = min(wait or late, late) if late > 0 else wait
        return min(wait or CONFIRM_SECONDS, CONFIRM_SECONDS) if wrote else wait

    def _announce(self, observed: Observed) -> None:
        key, agent = observed.key, observed.agent
        if agent and (pending := self._states.pending(key)):
            text = describe_configured(
                key.kind,
                pending.injection,
                running=agent.has_pods,
                collectors_workspace=self._collectors_workspace,
            )
            self._events.normal(reference(key, agent), "MLflowConfigured", text)
            self._states.get(key).pending = None

    async def _carry_out(
        self, observed: Observed, plan: Plan, reports: list[Report]
    ) -> tuple[bool, float | None]:
        """Do what is planned; return whether grants were written, and when to come again if unfinished."""
        wrote, wait, reverted = False, None, None
        try:
            if plan.revoke:
                with failure_reported(reports, *NOT_REVOKED):
                    if await self._applier.delete(ROLE_BINDINGS, revocable(self._names, observed)):
                        note_taken()
            with failure_reported(reports, *NOT_EMPTIED):
                await self._empty(plan.empty, observed.key)
            if plan.grant:
                with failure_reported(reports, *NOT_GRANTED):
                    wrote = await self._grant(plan.grant)
                if is_refilled(plan.grant) and (foreign := await self._empty_again(observed.key, plan.grant)):
                    reports.append(report_foreign(self._names.agent_role(observed.key.name), foreign))
                    return True, self.foreign.pause(observed.key)
        except WritesReverted as error:
            # Without a grant MLflow would refuse the pods. What is to go goes all the same.
            if isinstance(plan.change, Inject):
                raise
            reverted = error
        if plan.change and observed.agent:
            self._workloads.check(observed.key, observed.agent, plan.change, reports)
            with failure_reported(reports, *NOT_CONFIGURED):
                wait = await self._workloads.change(observed, observed.agent, plan.change)
            if isinstance(plan.change, Release) and wait is None:
                note_taken()
        if plan.revoke and wait is None:
            with failure_reported(reports, *NOT_REVOKED):
                if await self._applier.delete(ROLES, observed.role):
                    note_taken()
        if reverted and wait is None:
            raise reverted
        return wrote, wait

    async def _grant(self, grant: Grant) -> bool:
        roles, binding, known = self._facts.roles.resource, grant.binding, grant.known_binding
        role = grant.empty_role or grant.role
        # The binding names the Role, and a Role without a binding grants nothing: this order is safe.
        wrote = await self._applier.ensure(roles, role, grant.known_role)
        wrote = await self._applier.ensure(ROLE_BINDINGS, binding, known, replaced=grant.replaced) or wrote
        if grant.empty_role and grant.empty_role != grant.role:
            wrote = await self._applier.ensure(roles, grant.role, None) or wrote
        return wrote

    async def _empty(self, role: Manifest | None, key: AgentKey) -> None:
        if role and await self._applier.ensure(self._facts.roles.resource, role, self._facts.role(key)):
            note_taken()

    async def _empty_again(self, key: AgentKey, grant: Grant) -> tuple[RoleBinding, ...]:
        """Empty a Role that was filled while others grant it, which the caches may show too late."""
        foreign = await find_foreign_now(self._client, self._names, key)
        for binding in foreign:
            self.foreign.note(binding)
        if foreign:
            self.foreign.report(self._names.agent_role(key.name), foreign)
            await self._applier.ensure(self._facts.roles.resource, {**grant.role, "rules": []}, None)
        return foreign

    def _forget(self, observed: Observed) -> float | None:
        key, states = observed.key, self._states
        for grantee in observed.grantees:
            self._queue.add(grantee.key)
        states.slots.follow(key, observed.agent)
        if states.slots.holds(key):
            # No event comes for a workload without the label.
            states.get(key).experiment = None
            return FOLLOW_SECONDS
        states.forget(key)
        return None
