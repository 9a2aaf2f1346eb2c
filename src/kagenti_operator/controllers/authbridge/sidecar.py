"""The injected containers in modes proxy-sidecar and lite: section 6.7. Those of Envoy share what is here."""

from collections.abc import Iterable, Mapping
from typing import Any

import msgspec

from kagenti_operator.contract import (
    HEALTH_PORT,
    INBOUND_EXCLUDE_ANNOTATION,
    PROXY_INIT,
    SESSION_PORT,
    SIDECAR,
    STATS_PORT,
)
from kagenti_operator.controllers.authbridge.agent_container import LEADS
from kagenti_operator.controllers.authbridge.inputs import Refusal
from kagenti_operator.controllers.authbridge.observed import Observed
from kagenti_operator.controllers.authbridge.platform_config import Amounts, ContainerResources
from kagenti_operator.controllers.authbridge.pod import (
    Container,
    all_containers,
    annotations_of,
    field_env,
    mapping_at,
    with_env,
)
from kagenti_operator.controllers.authbridge.port_lists import join_ports, parse_ports
from kagenti_operator.controllers.authbridge.ports import Ports
from kagenti_operator.controllers.authbridge.volumes import build_mounts

_ARGS = ["--config", "/etc/authbridge/config.yaml"]


def build_sidecar(observed: Observed, ports: Ports) -> Container:
    """The sidecar: it takes the agent's port and what leads there, unless iptables lead calls to it."""
    lite = observed.settings.mode == "lite"
    images = observed.platform.images
    image = (
        observed.image("authbridgeLite", images.authbridge_lite)
        if lite
        else observed.image("authbridge", images.authbridge)
    )
    listening = [_inbound_port(observed, ports), {"name": "forward-proxy", "containerPort": ports.forward}]
    return build_proxy(
        observed,
        name=SIDECAR,
        image=image,
        resources=observed.platform.resources.authbridge,
        ports=listening,
        env=identity_variables(observed),
    )


def build_proxy(
    observed: Observed,
    *,
    name: str,
    image: str,
    resources: ContainerResources,
    ports: list[Mapping[str, Any]],
    env: Mapping[str, Mapping[str, Any]],
) -> Container:
    """A container that is AuthBridge, whatever it is reached by."""
    container = {
        "name": name,
        "image": image,
        "imagePullPolicy": observed.platform.images.pull_policy,
        "args": _ARGS,
        "ports": ports,
        "resources": build_resources(resources),
        "securityContext": _security(observed),
        "volumeMounts": build_mounts(observed),
    }
    return with_env(container, env)


def build_guard(observed: Observed, ports: Ports) -> tuple[Container, tuple[str, ...]]:
    """The init container after which no call out goes past the sidecar, and warnings."""
    proxy = observed.platform.proxy
    variables: dict[str, Mapping[str, Any]] = {
        "MODE": {"value": "enforce-redirect"},
        "PROXY_UID": {"value": str(proxy.uid)},
        "TRANSPARENT_PORT": {"value": str(proxy.transparent_port)},
    }
    if not observed.settings.transparent:
        return build_init(observed, variables), ()
    excluded, warnings = annotated_ports(observed, INBOUND_EXCLUDE_ANNOTATION)
    own = join_ports((ports.forward, HEALTH_PORT, STATS_PORT, SESSION_PORT))
    variables |= {
        "INBOUND_TRANSPARENT_PORT": {"value": str(proxy.transparent_inbound_port)},
        "POD_IP": field_env("status.podIP"),
        # Without it, calls of the other family would come in unseen where a pod has addresses of both.
        "POD_IPS": field_env("status.podIPs"),
        "SIDECAR_PORTS_EXCLUDE": {"value": own},
    }
    if excluded:
        variables["INBOUND_PORTS_EXCLUDE"] = {"value": join_ports(excluded)}
    return build_init(observed, variables), warnings


def build_init(observed: Observed, variables: Mapping[str, Mapping[str, Any]]) -> Container:
    """The init container that sets iptables up, with no more rights than that takes."""
    _refuse_same_user(observed)
    command = observed.platform.proxy.iptables_cmd
    container = {
        "name": PROXY_INIT,
        "image": observed.image("proxyInit", observed.platform.images.proxy_init),
        "imagePullPolicy": observed.platform.images.pull_policy,
        "resources": build_resources(observed.platform.resources.proxy_init),
        "securityContext": {
            "runAsUser": 0,
            "runAsGroup": 0,
            # A pod may demand that nobody is root.
            "runAsNonRoot": False,
            "privileged": False,
            "capabilities": {"drop": ["ALL"], "add": ["NET_ADMIN", "NET_RAW"]},
        },
    }
    return with_env(container, {**variables, **({"IPTABLES_CMD": {"value": command}} if command else {})})


def _refuse_same_user(observed: Observed) -> None:
    """What the sidecar's user sends is redirected for nobody, or the sidecar would call itself."""
    uid = observed.platform.proxy.uid
    of_all = mapping_at(observed.pod["spec"], "securityContext").get("runAsUser")
    # Some init containers run beside the agent.
    for container in all_containers(observed.pod):
        if mapping_at(container, "securityContext").get("runAsUser", of_all) == uid:
            raise Refusal(
                f"container {container['name']} has runAsUser {uid}, which is the sidecar's user, whose "
                f"calls go past the sidecar: choose another user"
            )


def identity_variables(observed: Observed) -> Mapping[str, Mapping[str, Any]]:
    """What the sidecar's image asks for at its start."""
    settings = observed.settings
    return {
        "SPIRE_ENABLED": {"value": "true" if settings.spire else "false"},
        "MTLS_MODE": {"value": settings.mtls},
    }


def annotated_ports(observed: Observed, annotation: str) -> tuple[tuple[int, ...], tuple[str, ...]]:
    """The ports that an annotation of the pod lists, and warnings."""
    key = observed.surroundings.names.key(annotation)
    return parse_ports(key, annotations_of(observed.pod).get(key, ""))


def build_resources(resources: ContainerResources) -> Mapping[str, Any]:
    """Requests and limits, without those that are not set."""
    sections = {"requests": resources.requests, "limits": resources.limits}
    amounts = {name: _set_amounts(section) for name, section in sections.items()}
    return {name: amount for name, amount in amounts.items() if amount}


def _set_amounts(section: Amounts) -> Mapping[str, str]:
    pairs: Iterable[tuple[str, str]] = msgspec.structs.asdict(section).items()
    return {name: amount for name, amount in pairs if amount}


def _inbound_port(observed: Observed, ports: Ports) -> Mapping[str, Any]:
    if observed.settings.transparent:
        return {"name": "transparent-in", "containerPort": observed.platform.proxy.transparent_inbound_port}
    led = {key: ports.declared[key] for key in LEADS if key in ports.declared}
    return {"name": "reverse-proxy", **led, "containerPort": ports.agent}


def _security(observed: Observed) -> Mapping[str, Any]:
    context = {
        "runAsNonRoot": True,
        "allowPrivilegeEscalation": False,
        "capabilities": {"drop": ["ALL"]},
    }
    if observed.surroundings.is_openshift and not observed.redirects:
        # The restricted constraints there choose the user, and no iptables have to know it.
        return context
    return {"runAsUser": observed.platform.proxy.uid, "runAsGroup": observed.platform.proxy.uid, **context}
