"""The containers of an agent beside its sidecar: its port that moves, its probes, its proxy and CA."""

import re
from collections.abc import Mapping
from typing import Any
from urllib.parse import urlsplit

from kagenti_operator.contract import CERTIFICATE_VARIABLE, LOOPBACK, TLS_BRIDGE_FOLDER, URI_VARIABLE
from kagenti_operator.controllers.authbridge.inputs import Pod
from kagenti_operator.controllers.authbridge.pod import (
    Container,
    containers_of,
    list_at,
    mapping_at,
    with_default_env,
    with_env,
    with_mounts,
)
from kagenti_operator.controllers.authbridge.ports import Ports

_PROBES = ("livenessProbe", "readinessProbe", "startupProbe")
_HOOKS = ("postStart", "preStop")
_ACTIONS = ("httpGet", "tcpSocket", "grpc")
# What leads from outside to a port of the pod: it goes to the sidecar, or it would lead past it.
LEADS = ("name", "hostPort", "hostIP")
CA_VOLUME = "tls-bridge-ca-cert"
# Hosts become patterns of the sidecar's, which does not start on one that is true of all.
# Of an address, and of the host in it (RFC 1035).
MOST_CHARACTERS, MOST_OF_HOST = 2048, 253
_HOST = re.compile(r"[a-z0-9]([a-z0-9.-]*[a-z0-9])?")
_CA_FILE = f"{TLS_BRIDGE_FOLDER}/ca.crt"
_CA_VARIABLES = (
    "NODE_EXTRA_CA_CERTS",
    "SSL_CERT_FILE",
    "REQUESTS_CA_BUNDLE",
    "CURL_CA_BUNDLE",
    "GIT_SSL_CAINFO",
    "AWS_CA_BUNDLE",
    "GRPC_DEFAULT_SSL_ROOTS_FILE_PATH",
)


def change_containers(pod: Pod, ports: Ports, *, bridged: bool) -> list[Container]:
    """The containers of a pod beside its sidecar."""
    containers: list[Container] = []
    for index, container in enumerate(containers_of(pod)):
        moved = move(container, ports) if index == ports.container else container
        proxied = with_default_env(moved, _proxy_variables(ports.forward))
        containers.append(_with_bridge(proxied) if bridged else proxied)
    return containers


def move(container: Container, ports: Ports) -> Container:
    """A container whose first port moves behind the sidecar, with what asks for it there."""
    name = ports.declared.get("name")
    kept = {key: value for key, value in ports.declared.items() if key not in LEADS}
    moved = {**kept, "containerPort": ports.moved}
    changed = {
        **container,
        "ports": [moved if port is ports.declared else port for port in list_at(container, "ports")],
        **{probe: _redirect(container[probe], ports, name) for probe in _PROBES if container.get(probe)},
    }
    if hooks := mapping_at(container, "lifecycle"):
        changed["lifecycle"] = {
            key: _redirect(hook, ports, name) if key in _HOOKS else hook for key, hook in hooks.items()
        }
    return with_env(changed, {"PORT": {"value": str(ports.moved)}})


def mlflow_hosts(pod: Pod) -> tuple[str, ...]:
    """The MLflow servers that containers log to: they take the pod's own token, none in exchange for it."""
    hosts: dict[str, None] = {}
    for container in containers_of(pod):
        for var in list_at(container, "env"):
            if var["name"] == URI_VARIABLE and (host := _host(var.get("value") or "")):
                hosts[host] = None
    return tuple(hosts)


def unbridged_hosts(pod: Pod) -> tuple[str, ...]:
    """MLflow, where a container checks its certificate against a CA of its own: the bridge's would not do."""
    hosts: dict[str, None] = {}
    for container in containers_of(pod):
        env = {var["name"]: var.get("value") or "" for var in list_at(container, "env")}
        if env.get(CERTIFICATE_VARIABLE) and (host := _host(env.get(URI_VARIABLE, ""))):
            hosts[host] = None
    return tuple(hosts)


def _host(uri: str) -> str:
    # What is longer is no address, and urlsplit keeps the last ones that it was asked for.
    if len(uri) > MOST_CHARACTERS:
        return ""
    try:
        host = urlsplit(uri).hostname or ""
    except ValueError:
        return ""
    return host if len(host) <= MOST_OF_HOST and _HOST.fullmatch(host) else ""


def _redirect(handler: Mapping[str, Any], ports: Ports, name: str | None) -> Mapping[str, Any]:
    """What asks for the agent's port, by its number or its name, asks for the moved one."""
    asked = (ports.agent, str(ports.agent), name) if name else (ports.agent, str(ports.agent))
    return {
        key: {**value, "port": ports.moved} if key in _ACTIONS and value.get("port") in asked else value
        for key, value in handler.items()
    }


def _proxy_variables(forward: int) -> Mapping[str, str]:
    proxy = f"http://{LOOPBACK}:{forward}"
    return {"HTTP_PROXY": proxy, "HTTPS_PROXY": proxy, "NO_PROXY": f"{LOOPBACK},localhost"}


def _with_bridge(container: Container) -> Container:
    trusting = with_env(container, {name: {"value": _CA_FILE} for name in _CA_VARIABLES})
    return with_mounts(trusting, [{"name": CA_VOLUME, "mountPath": TLS_BRIDGE_FOLDER, "readOnly": True}])
