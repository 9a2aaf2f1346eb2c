"""Pure: what becomes of a pod, from what was observed. The webhook asks for it, and who keeps the files."""

from dataclasses import replace

from kagenti_operator.contract import CLIENT_AUTH_KEY, CLIENT_SECRET_AUTH, OUTBOUND_POLICY_KEY
from kagenti_operator.controllers.authbridge.base import read_base
from kagenti_operator.controllers.authbridge.credentials import secret_of, with_credentials
from kagenti_operator.controllers.authbridge.gates import Gates
from kagenti_operator.controllers.authbridge.injection import inject
from kagenti_operator.controllers.authbridge.inputs import NamespaceConfig, Pod, Refusal, Surroundings
from kagenti_operator.controllers.authbridge.observed import Observed, check_name
from kagenti_operator.controllers.authbridge.outcome import Injected, Outcome, Refused, Unchanged
from kagenti_operator.controllers.authbridge.pipeline import has_pipeline
from kagenti_operator.controllers.authbridge.platform_config import PlatformConfig
from kagenti_operator.controllers.authbridge.resolve import Settings, resolve, resolve_mode
from kagenti_operator.controllers.authbridge.selection import Selection, is_injected, select
from kagenti_operator.controllers.authbridge.workload import Workload

_ON_THE_NODE = (
    "AuthBridge is not injected: the pod has hostNetwork, so its ports and its firewall are the node's own"
)
_NO_CREDENTIALS = (
    f"{CLIENT_AUTH_KEY} is {CLIENT_SECRET_AUTH}, and the operator registers no clients: until somebody puts "
    f"client-id.txt and client-secret.txt into volume shared-data, the sidecar answers every call with 503"
)
_GRPC_EXCHANGED = (
    f"{OUTBOUND_POLICY_KEY} is exchange and egressEnforcement enforce-redirect: what the agent sends past "
    f"HTTP_PROXY, such as traces over gRPC, is exchanged or refused; let it send traces over HTTP"
)


def decide(
    pod: Pod,
    workload: Workload,
    namespace: NamespaceConfig,
    gates: Gates,
    platform: PlatformConfig,
    surroundings: Surroundings,
) -> Outcome:
    """Decide by sections 6.2 to 6.8 of the specification. The same arguments give the same bytes."""
    selection = select(pod, gates, surroundings.names)
    if selection is None:
        return Unchanged()
    if is_injected(pod):
        return _complete(pod, workload, namespace, surroundings)
    if pod["spec"].get("hostNetwork"):
        return Unchanged((_ON_THE_NODE,))
    try:
        return _decide_selected(pod, selection, workload, namespace, gates, platform, surroundings)
    except Refusal as refusal:
        return Refused(f"AuthBridge cannot protect this pod: {refusal}")


def _complete(
    pod: Pod, workload: Workload, namespace: NamespaceConfig, surroundings: Surroundings
) -> Outcome:
    """A pod that has its sidecar already: what another webhook added may lack the credentials."""
    if not surroundings.client_registration:
        return Unchanged()
    secret = secret_of(pod, surroundings.names, namespace.namespace, workload.name)
    completed = with_credentials(pod, surroundings.names, secret)
    return Unchanged() if completed == pod else Injected(pod=completed, credentials_secret=secret)


def _decide_selected(
    pod: Pod,
    selection: Selection,
    workload: Workload,
    namespace: NamespaceConfig,
    gates: Gates,
    platform: PlatformConfig,
    surroundings: Surroundings,
) -> Outcome:
    base = read_base(namespace)
    mode, warnings = resolve_mode(pod, base, surroundings)
    if mode == "waypoint":
        return Unchanged(warnings)
    check_name(workload)
    settings = resolve(mode, base, selection, namespace, platform, surroundings)
    warnings += settings.warnings
    if not has_pipeline(base):
        warnings += _warn_of_synthesised(namespace, settings, surroundings)
    observed = Observed(
        pod=pod,
        workload=workload,
        namespace=namespace,
        gates=gates,
        platform=platform,
        surroundings=surroundings,
        base=base,
        settings=settings,
        envoy=selection.envoy,
    )
    injected = inject(observed)
    return replace(injected, warnings=(*warnings, *injected.warnings))


def _warn_of_synthesised(
    namespace: NamespaceConfig, settings: Settings, surroundings: Surroundings
) -> tuple[str, ...]:
    """What of a pipeline that is synthesised will not work as its namespace may think."""
    config = namespace.config
    waits = config.get(CLIENT_AUTH_KEY) == CLIENT_SECRET_AUTH and not surroundings.client_registration
    # The sidecar's list of hosts to skip does not hold for what iptables lead to it.
    led = settings.mode != "envoy-sidecar" and settings.redirect
    exchanged = led and config.get(OUTBOUND_POLICY_KEY) == "exchange"
    return (*((_NO_CREDENTIALS,) if waits else ()), *((_GRPC_EXCHANGED,) if exchanged else ()))
