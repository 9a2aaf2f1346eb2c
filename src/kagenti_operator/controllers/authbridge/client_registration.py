"""Registers each workload's client with Keycloak, keeps the Secret with its credentials, removes the rest.

Keycloak cannot be watched: each client is looked at again from time to time, so that a secret that somebody
rotates reaches the pods, and a Secret or client that somebody deletes comes back.
"""

from collections.abc import Mapping
from typing import Any

import structlog

from kagenti_operator.backoff import jittered
from kagenti_operator.controllers.agents.keys import AgentKey, namespace_of
from kagenti_operator.controllers.authbridge.decide import decide
from kagenti_operator.controllers.authbridge.facts import AuthBridgeFacts
from kagenti_operator.controllers.authbridge.outcome import Outcome
from kagenti_operator.controllers.authbridge.registration import (
    NOT_REGISTERED,
    Registry,
    Unwanted,
    Wanted,
    build_client,
    build_secret,
    describe_foreign,
    differs,
    is_ours,
    plan_registration,
    report_unregistered,
    workload_of,
)
from kagenti_operator.controllers.authbridge.restart import Raw, build_pod
from kagenti_operator.controllers.authbridge.watches import watch_workloads
from kagenti_operator.controllers.authbridge.workload import Workload
from kagenti_operator.controllers.authbridge.workload_config import owner_of, reference_of
from kagenti_operator.controllers.authbridge.workload_facts import WorkloadFacts
from kagenti_operator.controllers.dependencies import Dependencies
from kagenti_operator.controllers.failure_events import failures_recorded
from kagenti_operator.keycloak.client import KeycloakClient, RegisteredClient
from kagenti_operator.keycloak.errors import KeycloakError
from kagenti_operator.kube.errors import ApiError, ConfigError
from kagenti_operator.kube.resources import NAMESPACES, SECRETS
from kagenti_operator.runtime.control.controller import Controller
from kagenti_operator.runtime.telemetry.reporter import Reporter

log = structlog.get_logger(__name__)

NAME = "client-registration"
WORKERS = 4
# However many clients there are, Keycloak is asked about no more than so many a second.
LOOK_AGAIN_SECONDS = 300.0
LOOKS_PER_SECOND = 5.0
_JITTER = 0.2
# Its UID names the cluster in every tool: it lives as long as the cluster does.
CLUSTER_NAMESPACE = "kube-system"


def setup(
    dependencies: Dependencies, facts: AuthBridgeFacts, workloads: WorkloadFacts, keycloak: KeycloakClient
) -> "tuple[ClientRegistrationReconciler, Controller[AgentKey]]":
    """Watch the workloads and all that decides about their clients."""
    reconciler = ClientRegistrationReconciler(dependencies, facts, workloads, keycloak)
    queue = dependencies.queue(NAME, bucket=namespace_of, most_in_work=WORKERS - 1)
    controller = dependencies.controller(NAME, reconciler.reconcile, queue=queue, workers=WORKERS)
    watch_workloads(controller, facts, workloads)
    return reconciler, controller


class ClientRegistrationReconciler:
    """Observes a workload, has `plan_registration` decide, and brings Keycloak and the Secret to it."""

    def __init__(
        self,
        dependencies: Dependencies,
        facts: AuthBridgeFacts,
        workloads: WorkloadFacts,
        keycloak: KeycloakClient,
    ) -> None:
        self._names = dependencies.settings.names
        self._realms = dependencies.settings.keycloak_realms
        self._client = dependencies.client
        self._events = dependencies.events
        self._budget = dependencies.budget
        self._rng = dependencies.rng
        self._facts = facts
        self._workloads = workloads
        self._keycloak = keycloak
        self._cluster = ""
        self._reporter = Reporter[AgentKey](dependencies.events, __name__)
        # Where each workload's clients are: realm and name. Several may share one, by their account.
        self._clients: dict[AgentKey, set[tuple[str, str]]] = {}
        # What the Secrets had when they were last applied.
        self._versions: dict[AgentKey, str] = {}

    async def reconcile(self, key: AgentKey) -> float | None:
        """Bring one workload's client and Secret to what section 6.9 of the contract says."""
        if self._facts.is_openshift.value is None:
            return None
        with self._budget.spending((NAME, key), key.namespace):
            workload = await self._look_up(key)
            if workload is None:
                await self._remove(key)
                self._reporter.forget(key)
                return None
            if workload["metadata"].get("deletionTimestamp") or not self._facts.namespaces.get(key.namespace):
                self._reporter.forget(key)
                return None
            return await self._register(key, workload)

    async def sweep(self) -> tuple[AgentKey, ...]:
        """Find the workloads of clients that this operator made and that the caches do not have.

        Raises KeycloakError and KubeError.
        """
        cluster = await self._find_cluster()
        found: dict[AgentKey, None] = {}
        for realm in self._realms:
            async for client in self._keycloak.list_all(realm):
                key = workload_of(self._names, client) if is_ours(self._names, cluster, client) else None
                if key and self._workloads.get(key) is None:
                    self._clients.setdefault(key, set()).add((realm, client.client_id))
                    found[key] = None
        return tuple(found)

    async def _register(self, key: AgentKey, workload: Raw) -> float | None:
        about = reference_of(workload)
        registry = Registry(url=self._keycloak.url, realms=self._realms, cluster=await self._find_cluster())
        inputs = self._facts.observe(key.namespace)
        it = Workload(key.kind, key.name, workload["metadata"]["uid"])
        outcome: Outcome = decide(
            build_pod(workload), it, inputs.namespace, inputs.gates, inputs.platform, inputs.surroundings
        )
        trust_domain = inputs.platform.spiffe.trust_domain
        plan = plan_registration(self._names, key, outcome, inputs.namespace.config, registry, trust_domain)
        if isinstance(plan, Unwanted):
            self._reporter.report(key, about, (plan.report,) if plan.report else ())
            return None
        try:
            client = await self._ensure_client(key, plan, registry)
        except KeycloakError as error:
            self._reporter.report(key, about, (report_unregistered(str(error)),))
            raise
        self._clients.setdefault(key, set()).add((plan.realm, plan.client_id))
        with failures_recorded(
            self._events,
            about,
            NOT_REGISTERED,
            "The Secret with its client's credentials could not be written",
        ):
            await self._ensure_secret(key, plan, client, owner_of(workload))
        self._reporter.report(key, about, ())
        pause = max(LOOK_AGAIN_SECONDS, len(self._clients) / LOOKS_PER_SECOND)
        return jittered(pause, _JITTER, self._rng)

    async def _ensure_client(self, key: AgentKey, wanted: Wanted, registry: Registry) -> RegisteredClient:
        representation = build_client(self._names, registry.cluster, key, wanted)
        client = await self._keycloak.find(wanted.realm, wanted.client_id)
        if client is None:
            if await self._keycloak.create(wanted.realm, representation):
                log.info("Registered client with Keycloak", client=wanted.client_id, realm=wanted.realm)
            # What it was given as its secret comes only with it, and somebody may have been faster.
            client = await self._keycloak.find(wanted.realm, wanted.client_id)
        if client is None:
            raise KeycloakError(404, f"client '{wanted.client_id}' is gone again from realm '{wanted.realm}'")
        if not is_ours(self._names, registry.cluster, client):
            raise KeycloakError(409, describe_foreign(self._names, registry.cluster, client))
        if differs(client, representation):
            attributes = {**client.attributes, **representation["attributes"]}
            await self._keycloak.update(wanted.realm, client.id, {**representation, "attributes": attributes})
            log.info("Changed client in Keycloak", client=wanted.client_id, realm=wanted.realm)
            # A client of another kind may have got a secret by it.
            client = await self._keycloak.find(wanted.realm, wanted.client_id) or client
        return client

    async def _ensure_secret(
        self, key: AgentKey, wanted: Wanted, client: RegisteredClient, owner: Mapping[str, str]
    ) -> None:
        """Apply it at every look: the operator may read no Secret, and the same changes nothing."""
        desired = build_secret(self._names, key, wanted, client.secret or "", owner)
        applied = await self._client.apply(SECRETS, desired)
        if self._versions.get(key) != applied.metadata.resource_version:
            log.info("Wrote the client's credentials", namespace=key.namespace, secret=wanted.secret)
            self._versions[key] = applied.metadata.resource_version

    async def _remove(self, key: AgentKey) -> None:
        """Remove the clients that were made for a workload that is gone, unless another one uses them."""
        cluster = await self._find_cluster()
        own = {(realm, f"{key.namespace}/{key.name}") for realm in self._realms}
        for realm, client_id in sorted(self._clients.get(key, set()) | own):
            client = await self._keycloak.find(realm, client_id)
            if client is None or not is_ours(self._names, cluster, client):
                continue
            if workload_of(self._names, client) != key or self._is_used(key, (realm, client_id)):
                continue
            await self._keycloak.delete(realm, client)
            log.info("Removed client from Keycloak", client=client_id, realm=realm)
        self._clients.pop(key, None)
        self._versions.pop(key, None)

    def _is_used(self, gone: AgentKey, place: tuple[str, str]) -> bool:
        return any(place in places for key, places in self._clients.items() if key != gone)

    async def _look_up(self, key: AgentKey) -> Raw | None:
        path = self._workloads.resource(key).path(key.namespace, key.name)
        try:
            return await self._client.ask("GET", path, dict[str, Any])
        except ApiError as error:
            if error.not_found:
                return None
            raise

    async def _find_cluster(self) -> str:
        if not self._cluster:
            found = await self._client.get(NAMESPACES, CLUSTER_NAMESPACE)
            if found is None:
                raise ConfigError(f"there is no namespace {CLUSTER_NAMESPACE}, whose UID names the cluster")
            self._cluster = found.metadata.uid
        return self._cluster
