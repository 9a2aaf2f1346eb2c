"""Keeps each workload's file as `decide` says, and replaces pods where only new ones take over a change."""

import hashlib
from collections.abc import Mapping
from functools import partial
from typing import Any

import structlog

from kagenti_operator import contract
from kagenti_operator.controllers.agents.keys import AgentKey, key_of_agent, namespace_of
from kagenti_operator.controllers.agents.rollout_slots import PATIENCE_SECONDS, RolloutSlots
from kagenti_operator.controllers.authbridge.decide import decide
from kagenti_operator.controllers.authbridge.facts import AuthBridgeFacts, Inputs
from kagenti_operator.controllers.authbridge.namespace_config import is_complete
from kagenti_operator.controllers.authbridge.outcome import Injected, Outcome
from kagenti_operator.controllers.authbridge.restart import (
    SANDBOX,
    Raw,
    build_pod,
    build_restart,
    build_resume,
    has_pods,
    is_stopped,
    is_to_resume,
    rolled_hash,
)
from kagenti_operator.controllers.authbridge.tls_bridge import TLSBridge
from kagenti_operator.controllers.authbridge.upkeep import NO_SIDECAR, Observed, Plan, plan_upkeep
from kagenti_operator.controllers.authbridge.watches import watch_workloads
from kagenti_operator.controllers.authbridge.workload import Workload
from kagenti_operator.controllers.authbridge.workload_facts import (
    WorkloadFacts,
    owners_of,
)
from kagenti_operator.controllers.authbridge.workload_files import build_files, hash_of
from kagenti_operator.controllers.dependencies import Dependencies
from kagenti_operator.controllers.failure_events import failures_recorded
from kagenti_operator.controllers.list_now import list_now
from kagenti_operator.kube.errors import ApiError, KubeError
from kagenti_operator.kube.manifests import Manifest
from kagenti_operator.kube.objects.models import LONGEST_FILE, WorkloadFile, shorten
from kagenti_operator.kube.resources import CONFIG_MAPS, WORKLOAD_FILES
from kagenti_operator.runtime.cache.object_cache import Event, Removed
from kagenti_operator.runtime.control.applier import CONFIRM_SECONDS, differs, version_of
from kagenti_operator.runtime.control.controller import Controller
from kagenti_operator.runtime.control.workqueue import WorkQueue
from kagenti_operator.runtime.control.write_backoff import LAST, WriteBackoff, WritesReverted
from kagenti_operator.runtime.telemetry.events import ObjectRef
from kagenti_operator.runtime.telemetry.reporter import Report, Reporter

log = structlog.get_logger(__name__)

NAME = "authbridge-workloads"
WORKERS = 8
WORKERS_OF_NAMESPACE = 6
# Of owner references.
_NOT_READ = ("controller", "blockOwnerDeletion")


def setup(
    dependencies: Dependencies, facts: AuthBridgeFacts, workloads: WorkloadFacts, bridge: TLSBridge
) -> Controller[AgentKey]:
    """Watch the workloads, their files, and all that decides about them."""
    queue = dependencies.queue(NAME, bucket=namespace_of, most_in_work=WORKERS_OF_NAMESPACE)
    reconciler = WorkloadConfigReconciler(dependencies, facts, workloads, bridge, queue)
    controller = dependencies.controller(NAME, reconciler.reconcile, queue=queue, workers=WORKERS)
    for kind, informer in workloads.workloads.items():
        informer.subscribe(partial(reconciler.follow_rollout, kind))
    watch_workloads(controller, facts, workloads)
    controller.watches(bridge.certificates, lambda event: owners_of(event.object), needed=False)
    for needed in (facts.gates.informer, facts.platform.informer):
        # Not for their events: before they are known nothing is decided.
        controller.watches(needed, lambda _: ())
    for informer in (bridge.certificates, bridge.issuers):
        controller.follows(informer.cache.served, workloads.all)
    return controller


class WorkloadConfigReconciler:
    """Observes a workload, has `plan_upkeep` decide, and acts."""

    def __init__(
        self,
        dependencies: Dependencies,
        facts: AuthBridgeFacts,
        workloads: WorkloadFacts,
        bridge: TLSBridge,
        queue: WorkQueue[AgentKey],
    ) -> None:
        settings = dependencies.settings
        self._settings = settings
        self._names = settings.names
        self._client = dependencies.client
        self._events = dependencies.events
        self._budget = dependencies.budget
        self._facts = facts
        self._workloads = workloads
        self._bridge = bridge
        self._slots = RolloutSlots(settings.max_concurrent_rolls, queue.add, bucket=namespace_of)
        self._writes = WriteBackoff[AgentKey]()
        self._files = WriteBackoff[tuple[str, str]]()
        self._reporter = Reporter[AgentKey](dependencies.events, __name__)
        # Of each workload what decided at the last look, and with which result.
        self._decided: dict[AgentKey, tuple[str, str]] = {}

    async def reconcile(self, key: AgentKey) -> float | None:
        """Bring one workload's file and pods to what section 6.9 of the contract says."""
        if self._facts.is_openshift.value is None:
            # It comes again once that is known, and whether calls can be redirected depends on it.
            return None
        try:
            with self._budget.spending((NAME, key), key.namespace):
                return await self._reconcile(key)
        finally:
            self._slots.pass_on(key)

    def follow_rollout(self, kind: str, event: Event[Any]) -> None:
        """Give the place of a workload back when it is gone or its rollout is through."""
        agent = None if isinstance(event, Removed) else event.object
        if kind != SANDBOX or agent is None:
            self._slots.follow(key_of_agent(kind, event.object), agent)

    async def _reconcile(self, key: AgentKey) -> float | None:
        enabled = self._facts.namespaces.get(key.namespace) is not None
        if not enabled and key.kind != SANDBOX:
            self._forget(key)
            return None
        workload = await self._look_up(key)
        if workload is None:
            self._forget(key)
            return None
        if is_to_resume(self._names, workload):
            return await self._resume(key, workload)
        if not enabled:
            self._forget(key)
            return None
        if not is_complete(self._settings, self._facts.namespaces, key.namespace):
            # It comes again with what is being filled in.
            return None
        inputs = self._facts.observe(key.namespace)
        outcome = _decide(workload, key, inputs)
        observed = await self._observe(key, workload, outcome, inputs)
        plan = plan_upkeep(observed)
        reports = list(plan.reports)
        try:
            return await self._carry_out(key, workload, outcome, plan, reports)
        finally:
            self._reporter.report(key, reference_of(workload), reports)

    async def _look_up(self, key: AgentKey) -> Raw | None:
        """The whole workload: of its pod template more decides than is kept of ten thousand."""
        path = self._workloads.resource(key).path(key.namespace, key.name)
        try:
            found: Raw = await self._client.ask("GET", path, dict[str, Any])
        except ApiError as error:
            if error.not_found:
                return None
            raise
        return None if found["metadata"].get("deletionTimestamp") else found

    async def _observe(self, key: AgentKey, workload: Raw, outcome: Outcome, inputs: Inputs) -> Observed:
        name = f"{contract.WORKLOAD_CONFIG_PREFIX}{key.name}"
        file = self._workloads.file(key.namespace, name)
        with_pods = has_pods(workload)
        if file is None and with_pods and isinstance(outcome, Injected):
            # Admission writes it before there is a pod, but the cache may not have it yet.
            file = next(iter(await list_now(self._client, WORKLOAD_FILES, key.namespace, name=name)), None)
        wanted = outcome.restart_hash if isinstance(outcome, Injected) else ""
        digest = hashlib.sha256(repr(inputs).encode()).hexdigest()
        before = self._decided.get(key)
        self._decided[key] = (digest, wanted)
        return Observed(
            outcome=outcome,
            rolled=rolled_hash(self._names, workload),
            file_hash=None if file is None else hash_of(self._names, file),
            recorded=self._recorded(file),
            has_pods=with_pods,
            template_changed=bool(before and before[0] == digest and before[1] != wanted),
        )

    def _recorded(self, file: WorkloadFile | None) -> str:
        name = self._names.key(contract.AUTHBRIDGE_PODS_ANNOTATION)
        return file.metadata.annotations.get(name, "") if file else ""

    async def _carry_out(
        self, key: AgentKey, workload: Raw, outcome: Outcome, plan: Plan, reports: list[Report]
    ) -> float | None:
        if not isinstance(outcome, Injected):
            return None
        about = reference_of(workload)
        may_roll, wait = True, None
        if outcome.tls_bridge_secret and outcome.config is not None:
            consequence = "The TLS bridge's CA could not be asked for"
            with failures_recorded(self._events, about, "TLSBridgeNotReady", consequence):
                may_roll, found = await self._bridge.ensure(
                    key.namespace, outcome.tls_bridge_secret, owner_of(workload)
                )
            reports += found
        consequence = "The sidecar's configuration could not be written"
        with failures_recorded(self._events, about, "AuthBridgeConfigNotWritten", consequence):
            if plan.make:
                await self._make(key, workload, outcome)
            if plan.write and await self._write(key, workload, outcome):
                wait = CONFIRM_SECONDS
            if plan.record:
                await self._record(key, plan.record)
        if plan.roll and may_roll:
            consequence = "Its pods could not be replaced, and go on with the configuration they have"
            with failures_recorded(self._events, about, "AuthBridgeNotRolledOut", consequence):
                return await self._restart(key, workload, plan.roll) or wait
        if not plan.roll:
            self._writes.settled(key)
        return wait

    async def _make(self, key: AgentKey, workload: Raw, outcome: Injected) -> None:
        """Make the file of a workload whose pods have no sidecar, which is recorded on it from the first."""
        file, *_ = build_files(self._names, key.namespace, key.name, outcome, owner_of(workload))
        metadata = file["metadata"]
        record = {self._names.key(contract.AUTHBRIDGE_PODS_ANNOTATION): NO_SIDECAR}
        annotations = {**metadata["annotations"], **record}
        await self._client.create(
            WORKLOAD_FILES, {**file, "metadata": {**metadata, "annotations": annotations}}
        )

    async def _write(self, key: AgentKey, workload: Raw, outcome: Injected) -> bool:
        """Write the files that differ; return whether any did."""
        wrote = False
        for desired in build_files(self._names, key.namespace, key.name, outcome, owner_of(workload)):
            name = desired["metadata"]["name"]
            current = self._workloads.file(key.namespace, name)
            if not differs(_as_kept(desired), current):
                self._files.settled((key.namespace, name))
                continue
            self._check(
                self._files, (key.namespace, name), repr(desired), version_of(current) if current else ""
            )
            manager = self._names.prefixed(contract.AUTHBRIDGE_MANAGER)
            applied = await self._client.apply(WORKLOAD_FILES, desired, field_manager=manager)
            self._files.wrote((key.namespace, name), repr(desired), version_of(applied))
            log.info("Wrote the sidecar's configuration", namespace=key.namespace, name=name)
            wrote = True
        return wrote

    async def _record(self, key: AgentKey, value: str) -> None:
        """Write down which hash all pods have. An own field manager: admission's applies leave it alone."""
        metadata = {
            "name": f"{contract.WORKLOAD_CONFIG_PREFIX}{key.name}",
            "namespace": key.namespace,
            "annotations": {self._names.key(contract.AUTHBRIDGE_PODS_ANNOTATION): value},
        }
        body: Manifest = {
            "apiVersion": CONFIG_MAPS.api_version,
            "kind": CONFIG_MAPS.kind,
            "metadata": metadata,
        }
        await self._client.apply(WORKLOAD_FILES, body)

    async def _restart(self, key: AgentKey, workload: Raw, value: str) -> float | None:
        """Have its pods replaced when it is its turn."""
        generation = str(workload["metadata"].get("generation", ""))
        self._writes.forget_what_lasted()
        self._check(self._writes, key, value, generation)
        if not self._slots.take(key):
            return PATIENCE_SECONDS
        resource = self._workloads.resource(key)
        body = build_restart(self._names, workload, value)
        try:
            changed = await self._client.merge_patch(resource, key.name, body, key.namespace)
        except KubeError:
            self._slots.refused(key, self._workloads.get(key))
            raise
        if key.kind != SANDBOX:
            # The place of a Sandbox is given back when it is resumed.
            self._slots.began(key, changed)
        self._writes.wrote(key, value, version_of(changed))
        await self._record(key, value)
        log.info(
            "Replacing the pods for another sidecar", kind=key.kind, namespace=key.namespace, name=key.name
        )
        return CONFIRM_SECONDS

    async def _resume(self, key: AgentKey, workload: Raw) -> float | None:
        """Let a Sandbox that the operator suspended run again once its pod is gone."""
        if not is_stopped(workload):
            return CONFIRM_SECONDS
        body = build_resume(self._names, workload)
        about, consequence = (
            reference_of(workload),
            "The Sandbox was suspended to replace its pod, and stays so",
        )
        with failures_recorded(self._events, about, "AuthBridgeNotResumed", consequence):
            await self._client.merge_patch(self._workloads.resource(key), key.name, body, key.namespace)
        self._slots.release(key)
        return CONFIRM_SECONDS

    def _check[K: (AgentKey, tuple[str, str])](
        self, writes: WriteBackoff[K], key: K, what: str, version: str
    ) -> None:
        """Raise WritesReverted where another writer keeps reverting the same change."""
        if pause := writes.wait(key, what, version):
            text = (
                f"another controller keeps reverting what AuthBridge writes to {'/'.join(key)}; the operator "
                f"waits ever longer between its writes, and stops after {LAST} until it changes otherwise"
            )
            raise WritesReverted(text, pause)

    def _forget(self, key: AgentKey) -> None:
        self._decided.pop(key, None)
        self._slots.release(key)
        self._writes.forget(key)
        self._reporter.forget(key)


def _decide(workload: Raw, key: AgentKey, inputs: Inputs) -> Outcome:
    it = Workload(key.kind, key.name, workload["metadata"]["uid"])
    return decide(
        build_pod(workload), it, inputs.namespace, inputs.gates, inputs.platform, inputs.surroundings
    )


def _as_kept(desired: Manifest) -> Manifest:
    """What the cache has of a file once it is written."""
    metadata = dict(desired["metadata"])
    metadata["ownerReferences"] = [
        {key: value for key, value in owner.items() if key not in _NOT_READ}
        for owner in metadata.get("ownerReferences", ())
    ]
    data = {key: shorten(text, LONGEST_FILE) for key, text in desired["data"].items()}
    return {**desired, "metadata": metadata, "data": data}


def owner_of(workload: Raw) -> Mapping[str, str]:
    """The workload as an owner reference."""
    metadata = workload["metadata"]
    return {
        "apiVersion": workload["apiVersion"],
        "kind": workload["kind"],
        "name": metadata["name"],
        "uid": metadata["uid"],
    }


def reference_of(workload: Raw) -> ObjectRef:
    """The workload, as Events point at it."""
    metadata = workload["metadata"]
    return ObjectRef(
        api_version=workload["apiVersion"],
        kind=workload["kind"],
        name=metadata["name"],
        namespace=metadata["namespace"],
        uid=metadata["uid"],
    )
