"""Client registration as a feature: its permissions on Secrets exist only with it."""

import random

from kagenti_operator import contract
from kagenti_operator.backoff import jittered
from kagenti_operator.controllers.authbridge import client_registration
from kagenti_operator.controllers.authbridge.client_registration import CLUSTER_NAMESPACE
from kagenti_operator.controllers.authbridge.facts import AuthBridgeFacts
from kagenti_operator.controllers.authbridge.workload_facts import WorkloadFacts
from kagenti_operator.controllers.dependencies import Dependencies
from kagenti_operator.controllers.features import Feature
from kagenti_operator.controllers.permissions import permit
from kagenti_operator.controllers.settings import Settings
from kagenti_operator.controllers.singleton import build_singleton
from kagenti_operator.http.retry import RetryPolicy
from kagenti_operator.keycloak.admin_token import Credentials
from kagenti_operator.keycloak.client import KeycloakClient
from kagenti_operator.keycloak.errors import KeycloakError
from kagenti_operator.kube.client import KubeClient
from kagenti_operator.kube.resources import AGENT_DEPLOYMENTS, AGENT_STATEFUL_SETS, NAMESPACES, SECRETS

SWEEP = "client-sweep"
# For what went while no replica led.
SWEEP_SECONDS = 3600.0
# A worker moves on: what was not answered comes again by the work queue.
_POLICY = RetryPolicy(try_timeout=10.0, total=10.0)


def build_keycloak(settings: Settings, client: KubeClient, rng: random.Random) -> KeycloakClient:
    """The operator's own Keycloak, whose administrator's credentials are read in its namespace only."""
    namespace, name = settings.keycloak_namespace, contract.KEYCLOAK_ADMIN_SECRET

    async def read_credentials() -> Credentials:
        secret = await client.get(SECRETS, name, namespace)
        data = (secret.data if secret else None) or {}
        username, password = (data.get(key, b"").decode(errors="replace") for key in ("username", "password"))
        if not username or not password:
            what = "has no username and password" if secret else "does not exist"
            raise KeycloakError(
                None,
                f"Secret {name} in namespace {namespace} {what}: it is Keycloak's administrator, as whom "
                "clients are registered; make it, or name its namespace by --keycloak-namespace",
            )
        return Credentials(username, password)

    return KeycloakClient(
        settings.keycloak_address,
        credentials=read_credentials,
        rng=rng,
        ca_files=(settings.keycloak_ca_file,) if settings.keycloak_ca_file else (),
        policy=_POLICY,
    )


def build_feature(dependencies: Dependencies, facts: AuthBridgeFacts, keycloak: KeycloakClient) -> Feature:
    """Build it: one controller for the workloads, and one that looks for clients of those that are gone."""
    workloads = WorkloadFacts(dependencies)
    reconciler, controller = client_registration.setup(dependencies, facts, workloads, keycloak)

    async def sweep() -> float:
        controller.enqueue(*await reconciler.sweep())
        return jittered(SWEEP_SECONDS, 0.1, dependencies.rng)

    settings = dependencies.settings
    admin = contract.KEYCLOAK_ADMIN_SECRET
    return Feature(
        name=client_registration.NAME,
        informers=(*facts.informers, *workloads.informers),
        controllers=(controller, build_singleton(dependencies, SWEEP, sweep, *workloads.informers)),
        permissions=(
            *permit(SECRETS, "create", "patch"),
            *permit(SECRETS, "get", namespace=settings.keycloak_namespace, name=admin),
            *permit(NAMESPACES, "get", name=CLUSTER_NAMESPACE),
            *permit(AGENT_DEPLOYMENTS, "get"),
            *permit(AGENT_STATEFUL_SETS, "get"),
        ),
    )
