"""The platform's configuration: key `config.yaml` of ConfigMap `<platform>-platform-config`."""

from typing import Annotated, Literal

import msgspec
from msgspec import Meta

from kagenti_operator.contract import (
    EXT_PROC_PORT,
    HEALTH_PORT,
    SESSION_PORT,
    STATS_PORT,
    TRANSPARENT_INBOUND_PORT,
    TRANSPARENT_PORT,
)
from kagenti_operator.controllers.authbridge.yaml_text import read_settings

type Port = Annotated[int, Meta(ge=1, le=65535)]
type Quantity = Annotated[str, Meta(pattern=r"^([0-9.]+([eE][+-]?[0-9]+|[numkKMGTPE]i?)?)?$")]
type Egress = Literal["enforce-redirect", "none"]
type Interception = Literal["reverse-proxy", "transparent"]


class _Section(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    pass


class Images(_Section, frozen=True, kw_only=True):
    """The images, which the platform brings; an empty one cannot be injected."""

    envoy_proxy: str = ""
    authbridge: str = ""
    authbridge_lite: str = ""
    proxy_init: str = ""
    pull_policy: Literal["Always", "IfNotPresent", "Never"] = "IfNotPresent"


class Proxy(_Section, frozen=True, kw_only=True):
    """Ports, user, and what agents may choose. The user must not be root: the sidecar runs as non-root."""

    port: Port = 15123
    inbound_proxy_port: Port = 15124
    admin_port: Port = 9901
    uid: Annotated[int, Meta(ge=1, le=2**31 - 1)] = 1337
    transparent_port: Port = TRANSPARENT_PORT
    transparent_inbound_port: Port = TRANSPARENT_INBOUND_PORT
    iptables_cmd: Annotated[str, Meta(pattern=r"^[\w./-]*$")] = ""
    allowed_egress_enforcement: Annotated[tuple[Egress, ...], Meta(min_length=1)] = (
        "enforce-redirect",
        "none",
    )
    allowed_inbound_interception: Annotated[tuple[Interception, ...], Meta(min_length=1)] = (
        "reverse-proxy",
        "transparent",
    )


class Amounts(_Section, frozen=True, kw_only=True):
    """Of CPU and memory, as Kubernetes writes them."""

    cpu: Quantity = ""
    memory: Quantity = ""


class ContainerResources(_Section, frozen=True, kw_only=True):
    """What a container gets."""

    requests: Amounts = Amounts()
    limits: Amounts = Amounts()


def _resources(cpu: str, memory: str, most_cpu: str, most_memory: str) -> ContainerResources:
    return ContainerResources(
        requests=Amounts(cpu=cpu, memory=memory), limits=Amounts(cpu=most_cpu, memory=most_memory)
    )


class Resources(_Section, frozen=True, kw_only=True):
    """What the injected containers get."""

    authbridge: ContainerResources = _resources("100m", "128Mi", "300m", "384Mi")
    envoy_proxy: ContainerResources = _resources("50m", "64Mi", "200m", "256Mi")
    proxy_init: ContainerResources = _resources("10m", "10Mi", "10m", "10Mi")


class Spiffe(_Section, frozen=True, kw_only=True):
    """Where workloads get their identity."""

    trust_domain: Annotated[str, Meta(pattern=r"^[a-z0-9._-]*$")] = ""
    socket_path: Annotated[str, Meta(pattern=r"^unix:///[^/]+/[^\s]+$")] = (
        "unix:///spiffe-workload-api/spire-agent.sock"
    )


class PlatformConfig(_Section, frozen=True, kw_only=True):
    """What the platform's administrator decides for all injected pods."""

    images: Images = Images()
    proxy: Proxy = Proxy()
    resources: Resources = Resources()
    spiffe: Spiffe = Spiffe()


def parse_platform(text: str) -> PlatformConfig:
    """Read it; what is not there has its default. Raises ValueError with what goes on from a name."""
    try:
        config = msgspec.convert(read_settings(text), PlatformConfig, strict=False)
    except msgspec.ValidationError as error:
        raise ValueError(f"cannot be used: {error}") from error
    _check_ports(config.proxy)
    return config


def _check_ports(proxy: Proxy) -> None:
    """Raise ValueError where two listeners of a sidecar would have the same port."""
    others = {HEALTH_PORT: "health", STATS_PORT: "statistics", SESSION_PORT: "sessions"}
    transparent = {
        "transparentPort": proxy.transparent_port,
        "transparentInboundPort": proxy.transparent_inbound_port,
    }
    envoy = {
        "port": proxy.port,
        "inboundProxyPort": proxy.inbound_proxy_port,
        "adminPort": proxy.admin_port,
    }
    for ports, taken in ((transparent, dict(others)), (envoy, {**others, EXT_PROC_PORT: "ext_proc"})):
        for name, port in ports.items():
            if port in taken:
                raise ValueError(
                    f"cannot be used: proxy.{name} is {port}, which the sidecar's {taken[port]} has"
                )
            taken[port] = name
