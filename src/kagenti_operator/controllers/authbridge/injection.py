"""An injected pod with its file, made of its parts."""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import msgspec

from kagenti_operator.contract import CREDENTIALS_ANNOTATION, INJECT_LABEL, TRANSPARENT_PORT
from kagenti_operator.controllers.authbridge.agent_config import Overlay, build_document, collector_hosts
from kagenti_operator.controllers.authbridge.agent_container import (
    change_containers,
    mlflow_hosts,
    unbridged_hosts,
)
from kagenti_operator.controllers.authbridge.credentials import secret_of, with_credentials
from kagenti_operator.controllers.authbridge.envoy_config import render_envoy_config
from kagenti_operator.controllers.authbridge.envoy_sidecar import build_envoy, build_redirect, check_ports
from kagenti_operator.controllers.authbridge.inputs import Refusal
from kagenti_operator.controllers.authbridge.observed import Observed
from kagenti_operator.controllers.authbridge.outcome import Injected
from kagenti_operator.controllers.authbridge.pod import (
    Container,
    annotations_of,
    containers_of,
    list_at,
    mapping_at,
    with_spec,
    with_volumes,
)
from kagenti_operator.controllers.authbridge.ports import (
    Ports,
    blocked_port,
    plan_ports,
    plan_transparent,
    taken_ports,
)
from kagenti_operator.controllers.authbridge.resolve import give_way
from kagenti_operator.controllers.authbridge.sidecar import build_guard, build_sidecar
from kagenti_operator.controllers.authbridge.volumes import build_volumes, check_volumes
from kagenti_operator.controllers.authbridge.yaml_text import render


@dataclass(frozen=True, kw_only=True)
class _Parts:
    """`containers`: all of the pod. `added`: the sidecar. `inits`: what has to run before."""

    containers: Sequence[Container]
    added: Sequence[Container]
    inits: Sequence[Container]
    document: Mapping[str, Any]
    envoy_config: str | None = None
    warnings: tuple[str, ...] = ()


def inject(observed: Observed) -> Injected:
    """Inject a pod. Raises Refusal where it would not run protected."""
    if observed.settings.mode == "envoy-sidecar":
        return _assemble(observed, _envoy_parts(observed))
    settled, warnings = _settle_interception(observed)
    injected = _assemble(settled, _proxy_parts(settled))
    return replace(injected, warnings=(*warnings, *injected.warnings))


# --- proxy-sidecar and lite ---------------------------------------------------------------------------------


def _settle_interception(observed: Observed) -> tuple[Observed, tuple[str, ...]]:
    taken = taken_ports(observed.base, observed.platform)
    if not observed.settings.transparent or not (blocked := blocked_port(observed.pod, taken)):
        return observed, ()
    warning = give_way(blocked, observed.platform, observed.surroundings)
    return replace(observed, settings=replace(observed.settings, transparent=False)), (warning,)


def _proxy_parts(observed: Observed) -> _Parts:
    settings = observed.settings
    taken = taken_ports(observed.base, observed.platform)
    ports = (plan_transparent if settings.transparent else plan_ports)(observed.pod, taken)
    guards, warnings = _guards(observed, ports)
    if ports.container is None and not settings.transparent:
        warnings = (
            *warnings,
            f"no container has ports: calls are taken on {ports.agent} and passed on to {ports.moved}, where "
            f"the agent has to listen; declare its containerPort",
        )
    overlay = Overlay(
        mode="proxy-sidecar",
        listener=_listener(observed, ports),
        socket=observed.platform.spiffe.socket_path,
        unbridged=unbridged_hosts(observed.pod),
        unexchanged=mlflow_hosts(observed.pod),
    )
    return _Parts(
        containers=change_containers(observed.pod, ports, bridged=settings.tls_bridge),
        added=[build_sidecar(observed, ports)],
        inits=guards,
        document=build_document(observed.base, observed.namespace, settings, overlay, observed.surroundings),
        warnings=warnings,
    )


def _guards(observed: Observed, ports: Ports) -> tuple[list[Container], tuple[str, ...]]:
    if not observed.settings.redirect:
        return [], ()
    guard, warnings = build_guard(observed, ports)
    return [guard], warnings


def _listener(observed: Observed, ports: Ports) -> Mapping[str, str]:
    proxy = observed.platform.proxy
    places = {"forward_proxy_addr": f":{ports.forward}"}
    if observed.settings.transparent:
        places |= {
            "inbound_interception": "transparent",
            "transparent_inbound_addr": f":{proxy.transparent_inbound_port}",
        }
    else:
        backend = f"http://127.0.0.1:{ports.moved}"
        places = {"reverse_proxy_addr": f":{ports.agent}", "reverse_proxy_backend": backend, **places}
    theirs = observed.base.text("listener", "transparent_proxy_addr")
    if theirs or proxy.transparent_port != TRANSPARENT_PORT:
        # Where iptables lead calls, the sidecar has to listen.
        places["transparent_proxy_addr"] = f":{proxy.transparent_port}"
    return places


# --- envoy-sidecar ------------------------------------------------------------------------------------------


def _envoy_parts(observed: Observed) -> _Parts:
    overlay = Overlay(
        mode="envoy-sidecar",
        listener={},
        socket=observed.platform.spiffe.socket_path,
        unexchanged=mlflow_hosts(observed.pod),
    )
    document = build_document(
        observed.base, observed.namespace, observed.settings, overlay, observed.surroundings
    )
    # Envoy compares whole names, and needs no pattern for the short one.
    collector = (host for host in collector_hosts(observed.surroundings) if not host.endswith("*"))
    hosts = tuple(dict.fromkeys((*collector, *mlflow_hosts(observed.pod))))
    config = render_envoy_config(observed.platform.proxy, observed.settings.mtls, hosts)
    unchanged = containers_of(observed.pod)
    if not observed.envoy:
        warning = "a label or a gate keeps Envoy out: calls to the agent are not validated"
        return _Parts(
            containers=unchanged,
            added=[],
            inits=[],
            document=document,
            envoy_config=config,
            warnings=(warning,),
        )
    check_ports(observed)
    redirect, warnings = build_redirect(observed)
    return _Parts(
        containers=unchanged,
        added=[build_envoy(observed)],
        inits=[redirect],
        document=document,
        envoy_config=config,
        warnings=warnings,
    )


# --- both ---------------------------------------------------------------------------------------------------


def _assemble(observed: Observed, parts: _Parts) -> Injected:
    spec = observed.pod["spec"]
    fields: dict[str, Any] = {"containers": [*parts.containers, *parts.added]}
    if parts.inits:
        # Last, so that the agent's own still reach what they fetch: the sidecar does not listen yet.
        fields["initContainers"] = [*list_at(spec, "initContainers"), *parts.inits]
    account = _own_account(observed)
    fields |= {**_account_fields(spec, account), **_group_fields(observed)}
    volumes = build_volumes(observed)
    check_volumes(observed, volumes)
    pod = with_volumes(with_spec(observed.pod, fields), volumes)
    secret = None
    if observed.surroundings.client_registration:
        names = observed.surroundings.names
        _check_registered(observed)
        secret = secret_of(pod, names, observed.namespace.namespace, observed.workload.name)
        pod = with_credentials(pod, names, secret)
    return Injected(
        pod=pod,
        config=render(parts.document),
        envoy_config=parts.envoy_config,
        service_account=account,
        credentials_secret=secret,
        tls_bridge_secret=observed.tls_bridge_secret if observed.settings.tls_bridge else None,
        restart_hash=_restart_hash(parts, account, secret),
        warnings=parts.warnings,
    )


def _check_registered(observed: Observed) -> None:
    """Clients are registered for workloads; the Secret of another pod's would be waited for for ever."""
    key = observed.surroundings.names.key(CREDENTIALS_ANNOTATION)
    if not observed.workload.kind and not annotations_of(observed.pod).get(key):
        raise Refusal(
            "it belongs to no Deployment, StatefulSet or Sandbox, so no client is registered for it and "
            f"nobody makes the Secret that it waits for; name one by annotation {key}, have a Deployment "
            f"make the pod, or label it {observed.surroundings.names.key(INJECT_LABEL)}: disabled"
        )


def _own_account(observed: Observed) -> str | None:
    """An identity says which ServiceAccount a pod has, so an agent with an identity has one of its own."""
    current = observed.pod["spec"].get("serviceAccountName") or ""
    return observed.workload.name if observed.settings.spire and current in ("", "default") else None


def _account_fields(spec: Mapping[str, Any], account: str | None) -> Mapping[str, Any]:
    if account is None:
        return {}
    # The old name of the field, which the API server fills in as well.
    return {
        "serviceAccountName": account,
        **({"serviceAccount": account} if "serviceAccount" in spec else {}),
    }


def _group_fields(observed: Observed) -> Mapping[str, Any]:
    context = mapping_at(observed.pod["spec"], "securityContext")
    given = "fsGroup" in context or observed.surroundings.is_openshift
    return {} if given or not observed.settings.spire else {"securityContext": {**context, "fsGroup": 0}}


def _restart_hash(parts: _Parts, account: str | None, secret: str | None) -> str:
    """Of what only a new pod takes over: a pipeline is read again by a sidecar that runs."""
    read_at_start = {key: value for key, value in parts.document.items() if key != "pipeline"}
    what = [parts.added, parts.inits, read_at_start, parts.envoy_config, account, secret]
    return hashlib.sha256(msgspec.json.encode(what, order="sorted", enc_hook=str)).hexdigest()
