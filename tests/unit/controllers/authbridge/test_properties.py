"""What holds for every pod, whatever decides about it."""

import copy
from collections.abc import Mapping
from typing import Any

import msgspec
import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from kagenti_operator.controllers.authbridge.outcome import Injected, Refused, Unchanged
from kagenti_operator.controllers.authbridge.patch import build_patch
from kagenti_operator.controllers.authbridge.pod import containers_of, list_at

from .golden import NAMES, Case, build, load
from .sidecar_rules import faults

INJECTED = [name for name in NAMES if isinstance(load(name).decide(), Injected)]
# Around all ports that anybody has, and at the ends.
PORTS = st.integers(8000, 8090) | st.integers(9085, 9100) | st.sampled_from((1, 80, 15123, 65534, 65535))
CONTAINERS = st.lists(st.lists(PORTS, max_size=4), min_size=1, max_size=3)
OFF = "mtls: {mode: disabled}\n"


def injected(case: Case) -> Injected:
    outcome = case.decide()
    assert isinstance(outcome, Injected)
    return outcome


def apply(pod: Mapping[str, Any], operations: list[Mapping[str, Any]]) -> Mapping[str, Any]:
    """As the API server does by RFC 6902, for what only adds or replaces members."""
    patched = copy.deepcopy(dict(pod))
    for operation in operations:
        *folders, name = operation["path"].split("/")[1:]
        parent = patched
        for folder in folders:
            parent = parent[folder]
        assert operation["op"] == "add" or name in parent
        parent[name] = operation["value"]
    return patched


@pytest.mark.parametrize("name", INJECTED)
def test_the_patch_makes_of_the_pod_what_was_decided(name: str) -> None:
    case = load(name)
    outcome = injected(case)
    assert apply(case.pod, build_patch(case.pod, outcome.pod)) == outcome.pod
    assert build_patch(outcome.pod, outcome.pod) == []


@pytest.mark.parametrize("name", INJECTED)
def test_deciding_about_an_injected_pod_changes_nothing(name: str) -> None:
    case = load(name)
    pod = injected(case).pod
    again = case.decide(pod)
    if name == "envoy-label-off":
        # It has no sidecar that would tell: all of its parts are there all the same.
        assert isinstance(again, Injected)
        assert again.pod == pod
    else:
        assert again == Unchanged()


@pytest.mark.parametrize("name", NAMES)
def test_deciding_changes_none_of_its_arguments_and_says_the_same_again(name: str) -> None:
    case = load(name)
    pod = copy.deepcopy(case.pod)
    assert case.decide() == load(name).decide()
    assert case.pod == pod


@pytest.mark.parametrize("name", INJECTED)
def test_no_secret_of_the_namespace_is_in_a_file_or_in_the_pod(name: str) -> None:
    outcome = injected(load(name))
    written = f"{outcome.config}{outcome.envoy_config}{outcome.pod}"
    assert "never-to-be-seen" not in written


@pytest.mark.parametrize("name", [name for name in INJECTED if name != "own-pipeline"])
def test_the_sidecar_runs_and_protects_on_every_golden_file(name: str) -> None:
    if (text := injected(load(name)).config) is not None:
        assert list(faults(yaml.safe_load(text))) == []


@settings(max_examples=100, deadline=None)
@given(CONTAINERS, st.sampled_from(("", "inboundInterception: transparent\n")))
def test_ports_never_collide(containers: list[list[int]], more: str) -> None:
    specs: list[Mapping[str, Any]] = []
    seen: set[int] = set()
    for index, ports in enumerate(containers):
        # Containers of a pod cannot listen on the same port, with or without a sidecar.
        own = [port for port in dict.fromkeys(ports) if port not in seen]
        seen |= {*own}
        specs.append({"name": f"c{index}", "ports": [{"containerPort": port} for port in own]})
    outcome = build({"pod": {"spec": {"containers": specs}}, "base": OFF + more}).decide()
    if isinstance(outcome, Refused):
        assert "containerPort" in outcome.message
        return
    assert isinstance(outcome, Injected)
    document = yaml.safe_load(outcome.config or "")
    assert list(faults(document)) == []
    *agents, sidecar = containers_of(outcome.pod)
    own = [port["containerPort"] for port in list_at(sidecar, "ports")]
    theirs = [port["containerPort"] for container in agents for port in list_at(container, "ports")]
    assert len({*own, *theirs}) == len(own) + len(set(theirs))
    assert {*own, *theirs}.isdisjoint({8082, 9091, 9093, 9094})
    backend = document["listener"].get("reverse_proxy_backend")
    if backend and any(containers):
        assert int(backend.rpartition(":")[2]) in theirs


VALUES = st.none() | st.sampled_from(
    (
        "",
        " ",
        "client-secret",
        "federated-jwt",
        "exchange",
        "passthrough",
        "https://a",
        "1e3",
        "on",
        "a: b\n- c",
        "${X}",
    )
)
CONFIG = st.fixed_dictionaries(
    dict.fromkeys(
        (
            "ISSUER",
            "KEYCLOAK_URL",
            "KEYCLOAK_REALM",
            "CLIENT_AUTH_TYPE",
            "JWT_AUDIENCE",
            "DEFAULT_OUTBOUND_POLICY",
        ),
        VALUES,
    )
)
BASES = st.fixed_dictionaries(
    {},
    optional={
        "mode": st.sampled_from(("lite", "proxy-sidecar", "envoy-sidecar", "other", 1)),
        "mtls": st.sampled_from(({"mode": "strict"}, {"mode": "disabled"}, {"mode": "x"}, {}, None, [])),
        "egressEnforcement": st.sampled_from(("none", "enforce-redirect", "x")),
        "inboundInterception": st.sampled_from(("transparent", "reverse-proxy")),
        "tls_bridge": st.sampled_from(({"mode": "enabled"}, {"mode": "disabled"}, {})),
        "listener": st.dictionaries(
            st.sampled_from(("health_addr", "session_api_addr", "forward_proxy_addr", "skip_hosts")),
            st.sampled_from((":8000", "127.0.0.1:8001", ":9999")),
            max_size=1,
        ),
        "pipeline": st.sampled_from((None, {}, [])),
        "stats": st.sampled_from((None, {"address": ":9091"}, {"address": ":8001"})),
        "spiffe": st.sampled_from(({"socket": "unix:///x/y"}, None)),
    },
)


@settings(max_examples=150, deadline=None)
@given(CONFIG, BASES, st.booleans(), st.booleans())
def test_no_written_file_lacks_what_the_sidecar_demands(
    config: Mapping[str, str | None], base: Mapping[str, Any], spire: bool, registers: bool
) -> None:
    surroundings = {"has_spiffe_driver": spire, "client_registration": registers}
    case = build({"config": config, "base": yaml.safe_dump(base), "surroundings": surroundings})
    outcome = case.decide()
    assert not isinstance(outcome, Unchanged)
    if isinstance(outcome, Injected):
        file = yaml.safe_load(outcome.config or "")
        assert list(faults(file)) == []
        assert case.decide(outcome.pod) == Unchanged()
        assert ("spiffe" in file) == any("csi" in volume for volume in outcome.pod["spec"]["volumes"])
        # What goes over the wire has no types of our own.
        msgspec.json.encode(outcome.pod)


@settings(max_examples=150, deadline=None)
@given(
    st.text(max_size=200)
    | st.lists(
        st.sampled_from(("a", ":", " ", "\n", "-", "[", "{", "&x", "*x", '"', "mode", "!t", "\t")),
        max_size=40,
    ).map("".join)
)
def test_whatever_a_tenant_writes_is_decided_about(text: str) -> None:
    outcome = build(
        {"base": text, "pod": {"metadata": {"annotations": {"kagenti.io/authbridge-mode": text}}}}
    ).decide()
    if isinstance(outcome, Refused):
        assert outcome.message.isprintable()
    assert all(warning.isprintable() for warning in outcome.warnings)
