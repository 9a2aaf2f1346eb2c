"""What pods with a sidecar read in their namespace: templates are copied, and missing keys filled in."""

from collections.abc import Mapping

from kagenti_operator import contract
from kagenti_operator.controllers.authbridge.namespaces import EnabledNamespaces
from kagenti_operator.controllers.dependencies import Dependencies
from kagenti_operator.controllers.failure_events import failures_recorded
from kagenti_operator.controllers.settings import Settings
from kagenti_operator.kube.errors import ApiError
from kagenti_operator.kube.manifests import Manifest, build_config_map
from kagenti_operator.kube.objects.models import SharedConfigMap
from kagenti_operator.kube.resources import CONFIG_MAPS, SHARED_CONFIG_MAPS
from kagenti_operator.runtime.control.applier import CONFIRM_SECONDS, Applier, differs
from kagenti_operator.runtime.control.controller import Controller
from kagenti_operator.runtime.telemetry.events import ObjectRef

NAME = "authbridge-namespace-config"
WORKERS = 4


def setup(dependencies: Dependencies, namespaces: EnabledNamespaces) -> Controller[str]:
    """Watch the namespaces with the platform's label and their ConfigMaps; keyed by namespace."""
    reconciler = NamespaceConfigReconciler(dependencies, namespaces)
    controller = dependencies.controller(NAME, reconciler.reconcile, workers=WORKERS)
    controller.watches(namespaces.namespaces, lambda event: (event.object.metadata.name,))
    for informer in (namespaces.configs, namespaces.runtime_configs):
        controller.watches(informer, namespaces.concerned)
    return controller


def build_defaults(settings: Settings, theirs: Mapping[str, str]) -> Mapping[str, str]:
    """What a namespace's `authbridge-config` has where people, whose keys are `theirs`, do not say otherwise.

    Realm and Keycloak's namespace are theirs where they name them, so that address and issuer fit. Without a
    public address there is no issuer: one that is made up would refuse every token.
    """
    namespace = theirs.get(contract.KEYCLOAK_NAMESPACE_KEY) or settings.keycloak_namespace
    realm = theirs.get(contract.KEYCLOAK_REALM_KEY) or settings.keycloak_realm
    # A namespace that names another one has its Service; the address of --keycloak-url is the operator's own.
    ours = namespace == settings.keycloak_namespace
    service = f"http://{contract.KEYCLOAK_SERVICE}.{namespace}.svc:{contract.KEYCLOAK_PORT}"
    defaults = {
        contract.KEYCLOAK_URL_KEY: settings.keycloak_address if ours else service,
        contract.KEYCLOAK_REALM_KEY: realm,
        contract.KEYCLOAK_NAMESPACE_KEY: namespace,
        contract.CLIENT_AUTH_KEY: contract.CLIENT_SECRET_AUTH,
        contract.SPIFFE_ALIAS_KEY: contract.SPIFFE_ALIAS,
        contract.CREDENTIAL_TIMEOUT_KEY: contract.CREDENTIAL_TIMEOUT,
    }
    if settings.keycloak_public_url:
        issuer = f"{settings.keycloak_public_url.rstrip('/')}/realms/{realm}"
        keys = (contract.ISSUER_KEY, contract.EXPECTED_AUDIENCE_KEY, contract.JWT_AUDIENCE_KEY)
        defaults |= dict.fromkeys(keys, issuer)
    return defaults


def build_namespace_config(
    settings: Settings, namespace: str, current: SharedConfigMap | None
) -> Manifest | None:
    """Build the apply that fills in what is missing; None where nothing is.

    What the operator filled in earlier follows its settings as long as it alone owns it. Everything else is
    somebody's, also what an earlier version of a template said: it stays.
    """
    names = settings.names
    data = dict(current.data or {}) if current else {}
    found = dict(current.metadata.labels) if current else {}
    applied, labelled = _ours(current, names.manager)
    shared, shared_labels = _others(current, names.manager)
    theirs = {key: value for key, value in data.items() if key not in applied - shared}
    wanted = {key: value for key, value in build_defaults(settings, theirs).items() if key not in theirs}
    if not wanted and not applied:
        return None
    labels = {
        contract.MANAGED_BY_LABEL: names.manager,
        names.key(contract.AUTHBRIDGE_MANAGED_LABEL): names.manager,
        names.key(contract.AUTHBRIDGE_DEFAULTS_LABEL): "true",
    }
    labels = {name: value for name, value in labels.items() if name not in found.keys() - labelled}
    labels = {name: value for name, value in labels.items() if name not in shared_labels}
    manifest = build_config_map(contract.AUTHBRIDGE_CONFIG, namespace, wanted, labels=labels)
    if current is None:
        return manifest
    if applied == wanted.keys() and labelled == labels.keys() and not differs(manifest, current):
        return None
    # With its uid: one that somebody deletes meanwhile is decided about anew.
    return {**manifest, "metadata": {**manifest["metadata"], "uid": current.metadata.uid}}


def _ours(current: SharedConfigMap | None, manager: str) -> tuple[frozenset[str], frozenset[str]]:
    """The keys and labels that the operator applied: a copy of a template was created, and is people's."""
    return _owned(current, manager, applied=True)


def _others(current: SharedConfigMap | None, manager: str) -> tuple[frozenset[str], frozenset[str]]:
    return _owned(current, manager, applied=False)


def _owned(
    current: SharedConfigMap | None, manager: str, *, applied: bool
) -> tuple[frozenset[str], frozenset[str]]:
    entries = [
        entry
        for entry in (current.metadata.managed_fields if current else ())
        if ((entry.manager, entry.operation) == (manager, "Apply")) is applied
    ]
    keys = frozenset[str]().union(*(entry.data for entry in entries))
    return keys, frozenset[str]().union(*(entry.labels for entry in entries))


def build_copy(settings: Settings, template: SharedConfigMap, namespace: str) -> Manifest:
    """Build the copy of a template, which from then on belongs to the namespace's people."""
    labels = {settings.names.key(contract.AUTHBRIDGE_MANAGED_LABEL): settings.names.manager}
    return build_config_map(template.metadata.name, namespace, template.data or {}, labels=labels)


def is_complete(settings: Settings, namespaces: EnabledNamespaces, namespace: str) -> bool:
    """Whether a namespace has all that is copied and filled in: what is decided before is soon outdated."""
    if any(namespaces.lacks(template, namespace) for template in namespaces.templates):
        return False
    return build_namespace_config(settings, namespace, namespaces.config(namespace)) is None


class NamespaceConfigReconciler:
    """Keyed by namespace. What it wrote stays when the label goes: pods that run read it again on restart."""

    def __init__(self, dependencies: Dependencies, namespaces: EnabledNamespaces) -> None:
        self._settings = dependencies.settings
        self._namespaces = namespaces
        self._events = dependencies.events
        self._budget = dependencies.budget
        self._applier = Applier(dependencies.client)

    async def reconcile(self, namespace: str) -> float | None:
        """Copy the templates that are absent, and fill in what the namespace's configuration lacks."""
        with self._budget.spending((NAME, namespace), namespace):
            return await self._reconcile(namespace)

    async def _reconcile(self, namespace: str) -> float | None:
        if self._namespaces.get(namespace) is None:
            return None
        for template in self._namespaces.templates:
            if self._namespaces.lacks(template, namespace):
                await self._copy(template, namespace)
                # Its event brings the namespace back; lost, this does.
                return CONFIRM_SECONDS
        current = self._namespaces.config(namespace)
        desired = build_namespace_config(self._settings, namespace, current)
        if desired is None:
            return None
        consequence = "Keys that AuthBridge needs could not be filled in"
        with failures_recorded(self._events, _about(namespace), "AuthBridgeConfigNotWritten", consequence):
            # What another writer set a moment ago is theirs, and nothing of this is written then.
            await self._applier.ensure(SHARED_CONFIG_MAPS, desired, current, force=False)
        return CONFIRM_SECONDS

    async def _copy(self, template: SharedConfigMap, namespace: str) -> None:
        name = template.metadata.name
        consequence = f"The template {name} could not be copied"
        about = _about(namespace, name)
        with failures_recorded(self._events, about, "AuthBridgeConfigNotWritten", consequence):
            try:
                body = build_copy(self._settings, template, namespace)
                await self._applier.create(CONFIG_MAPS, body)
            except ApiError as error:
                if not error.already_exists:
                    raise


def _about(namespace: str, name: str = contract.AUTHBRIDGE_CONFIG) -> ObjectRef:
    return ObjectRef(
        api_version=CONFIG_MAPS.api_version, kind=CONFIG_MAPS.kind, name=name, namespace=namespace
    )
