"""What a pod's sidecar is to be, of all who may say so: section 6.4."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from kagenti_operator.contract import (
    AUTHBRIDGE_CONFIG,
    AUTHBRIDGE_MODE_ANNOTATION,
    CLIENT_AUTH_KEY,
    FEDERATED_JWT,
    PLATFORM_CONFIG,
    SPIFFE_DRIVER,
)
from kagenti_operator.controllers.authbridge.base import Base
from kagenti_operator.controllers.authbridge.inputs import NamespaceConfig, Pod, Refusal, Surroundings
from kagenti_operator.controllers.authbridge.pipeline import has_pipeline, uses_spiffe
from kagenti_operator.controllers.authbridge.platform_config import PlatformConfig
from kagenti_operator.controllers.authbridge.pod import annotations_of
from kagenti_operator.controllers.authbridge.selection import Selection
from kagenti_operator.plain_text import excerpt

type Mode = Literal["proxy-sidecar", "lite", "envoy-sidecar", "waypoint"]
type Mtls = Literal["disabled", "permissive", "strict"]

MODES: tuple[Mode, ...] = ("proxy-sidecar", "lite", "envoy-sidecar", "waypoint")
MTLS_MODES: tuple[Mtls, ...] = ("permissive", "disabled", "strict")
EGRESS = ("enforce-redirect", "none")
INTERCEPTION = ("reverse-proxy", "transparent")
TLS_BRIDGE = ("disabled", "enabled")
_LONGEST = 60


@dataclass(frozen=True, kw_only=True)
class Settings:
    """What was resolved. `spire`: the sidecar gets an identity. `redirect`: iptables enforce that calls out
    go through the sidecar. `transparent`: they do so for calls in, and no port is moved.
    """

    mode: Mode
    mtls: Mtls
    spire: bool
    redirect: bool
    transparent: bool
    tls_bridge: bool
    warnings: tuple[str, ...] = ()


class _Chooser:
    """Chooses among values that are known, and says where another one was set."""

    def __init__(self, where: str) -> None:
        self.where = where
        self.warnings: list[str] = []

    def choose[T: str](self, name: str, value: str, known: Sequence[T]) -> T:
        """The value where it is known; the first of those that are where it is not, or nothing is set."""
        if found := next((it for it in known if it == value), None):
            return found
        if value:
            shown = excerpt(value, _LONGEST)
            self.warnings.append(
                f"{name} {shown!r} in {self.where} is unknown: {known[0]} is used. "
                f"Known are {', '.join(known)}"
            )
        return known[0]

    def restrict(self, name: str, value: str, allowed: Sequence[str], platform: str) -> str:
        """The value where the platform allows it, else the first one that it allows."""
        if value in allowed:
            return value
        self.warnings.append(f"{name} {value} is not allowed by ConfigMap {platform}: {allowed[0]} is used")
        return allowed[0]


def resolve_mode(pod: Pod, base: Base, surroundings: Surroundings) -> tuple[Mode, tuple[str, ...]]:
    """The mode, and warnings."""
    if value := base.text("mode"):
        chooser = _Chooser(base.where)
        return chooser.choose("mode", value, MODES), tuple(chooser.warnings)
    annotation = surroundings.names.key(AUTHBRIDGE_MODE_ANNOTATION)
    if not (value := annotations_of(pod).get(annotation, "")):
        return MODES[0], ()
    chooser = _Chooser("the pod's annotations")
    mode = chooser.choose(annotation, value, MODES)
    deprecated = f"annotation {annotation} is deprecated: set mode in {base.where} instead"
    return mode, (*chooser.warnings, deprecated)


def resolve(
    mode: Mode,
    base: Base,
    selection: Selection,
    namespace: NamespaceConfig,
    platform: PlatformConfig,
    surroundings: Surroundings,
) -> Settings:
    """Resolve the rest for a mode that injects. Raises Refusal where what was asked for cannot be."""
    chooser = _Chooser(base.where)
    mtls, spire = _resolve_identity(chooser, base, selection, namespace, surroundings)
    redirect = _resolve_egress(chooser, base, platform, surroundings) == "enforce-redirect"
    return Settings(
        mode=mode,
        mtls=mtls,
        spire=spire,
        redirect=redirect,
        transparent=mode != "envoy-sidecar"
        and _resolve_transparent(chooser, base, platform, surroundings, redirect=redirect),
        tls_bridge=_resolve_tls_bridge(chooser, base, mode),
        warnings=tuple(chooser.warnings),
    )


def _resolve_identity(
    chooser: _Chooser,
    base: Base,
    selection: Selection,
    namespace: NamespaceConfig,
    surroundings: Surroundings,
) -> tuple[Mtls, bool]:
    asked = base.text("mtls", "mode")
    mtls = chooser.choose("mtls.mode", asked, MTLS_MODES)
    spire = mtls != "disabled" or selection.spiffe
    needed = _needs_spire(base, namespace, explicit=mtls if mtls == asked != "disabled" else "")
    if surroundings.has_spiffe_driver and spire:
        return mtls, True
    if needed and not surroundings.has_spiffe_driver:
        raise Refusal(
            f"{needed} needs SPIRE, but CSIDriver {SPIFFE_DRIVER} is not in the cluster: install "
            f"SPIRE, or take it out"
        )
    if needed:
        raise Refusal(f"{needed} needs SPIRE, which mtls.mode disabled and a label of the pod switch off")
    if mtls != "disabled":
        chooser.warnings.append(
            f"CSIDriver {SPIFFE_DRIVER} is not in the cluster: mtls.mode is disabled, and AuthBridge does "
            f"not encrypt traffic between agents"
        )
    return "disabled", False


def _needs_spire(base: Base, namespace: NamespaceConfig, *, explicit: str) -> str:
    """What asks for SPIRE by name, as people find it; empty where nothing does."""
    if explicit:
        return f"mtls.mode {explicit} in {base.where}"
    if has_pipeline(base):
        return f"identity.type spiffe in the pipeline of {base.where}" if uses_spiffe(base) else ""
    if namespace.config.get(CLIENT_AUTH_KEY) == FEDERATED_JWT:
        where = f"ConfigMap {AUTHBRIDGE_CONFIG} in namespace {namespace.namespace}"
        return f"{CLIENT_AUTH_KEY} {FEDERATED_JWT} in {where}"
    return ""


def _resolve_egress(
    chooser: _Chooser, base: Base, platform: PlatformConfig, surroundings: Surroundings
) -> str:
    egress = chooser.choose("egressEnforcement", base.text("egressEnforcement"), EGRESS)
    allowed = platform.proxy.allowed_egress_enforcement
    name = surroundings.names.prefixed(PLATFORM_CONFIG)
    return chooser.restrict("egressEnforcement", egress, allowed, name)


def _resolve_transparent(
    chooser: _Chooser, base: Base, platform: PlatformConfig, surroundings: Surroundings, *, redirect: bool
) -> bool:
    wanted = chooser.choose("inboundInterception", base.text("inboundInterception"), INTERCEPTION)
    allowed = platform.proxy.allowed_inbound_interception
    name = surroundings.names.prefixed(PLATFORM_CONFIG)
    if chooser.restrict("inboundInterception", wanted, allowed, name) != "transparent":
        return False
    if not redirect:
        chooser.warnings.append(
            give_way("it needs egressEnforcement enforce-redirect", platform, surroundings)
        )
    return redirect


def give_way(reason: str, platform: PlatformConfig, surroundings: Surroundings) -> str:
    """The warning that transparent interception gives way. Raises Refusal where nothing else is allowed."""
    if "reverse-proxy" in platform.proxy.allowed_inbound_interception:
        return f"inboundInterception transparent cannot be had, as {reason}: reverse-proxy is used"
    name = surroundings.names.prefixed(PLATFORM_CONFIG)
    raise Refusal(
        f"ConfigMap {name} allows only inboundInterception transparent, which cannot be had: {reason}"
    )


def _resolve_tls_bridge(chooser: _Chooser, base: Base, mode: Mode) -> bool:
    enabled = chooser.choose("tls_bridge.mode", base.text("tls_bridge", "mode"), TLS_BRIDGE) == "enabled"
    if enabled and mode == "envoy-sidecar":
        chooser.warnings.append(f"tls_bridge in {base.where} is ignored in mode envoy-sidecar")
        return False
    return enabled
