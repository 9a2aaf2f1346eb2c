import re

import pytest

from kagenti_operator.controllers.authbridge.gates import Gates, parse_gates
from kagenti_operator.controllers.authbridge.platform_config import PlatformConfig, parse_platform


@pytest.mark.parametrize(
    "text", ["", "# nothing", "{}", "globalEnabled: false\nenvoyProxy: false\ninjectTools: false"]
)
def test_no_gates_and_gates_that_are_all_off_are_the_defaults(text: str) -> None:
    assert parse_gates(text) == Gates(global_enabled=True, envoy_proxy=True, inject_tools=False)


def test_a_gate_that_is_not_set_has_its_default() -> None:
    assert parse_gates("globalEnabled: false") == Gates(global_enabled=False)
    assert parse_gates('injectTools: "true"\nperWorkloadConfigResolution:') == Gates(inject_tools=True)


def test_a_gate_of_a_newer_platform_is_no_fault() -> None:
    assert parse_gates("combinedSidecar: true") == Gates()


def test_nothing_in_the_platforms_configuration_is_the_defaults() -> None:
    assert parse_platform("") == parse_platform("proxy:\nresources: {}\n") == PlatformConfig()


def test_quantities_and_images_stay_as_they_were_written() -> None:
    config = parse_platform(
        "images: {authbridge: 'a@sha256:00'}\nresources: {authbridge: {limits: {cpu: 1}}}"
    )
    assert (config.images.authbridge, config.resources.authbridge.limits.cpu) == ("a@sha256:00", "1")


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ("globalEnabled: maybe", r"bool.*globalEnabled"),
        ("[]", "is no mapping"),
        ("globalEnabled: [", "is no YAML: .* line 2"),
        ("a: &x 1\nb: *x", "has an alias in line 2"),
        ("x: " + "y" * 70_000, "is larger than 64 KiB"),
    ],
)
def test_bad_gates_are_refused_with_a_sentence_that_names_what_is_wrong(text: str, fault: str) -> None:
    with pytest.raises(ValueError, match=fault):
        parse_gates(text)


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ("proxy: {port: 0}", r"proxy\.port"),
        ("proxy: {uid: 0}", r"proxy\.uid"),
        ("proxy: {allowedEgressEnforcement: []}", r"proxy\.allowedEgressEnforcement"),
        ("proxy: {allowedEgressEnforcement: [maybe]}", r"maybe.*proxy\.allowedEgressEnforcement"),
        ("proxy: {iptablesCmd: 'iptables; true'}", r"proxy\.iptablesCmd"),
        ("proxy: {transparentPort: 9091}", r"proxy\.transparentPort is 9091, which the sidecar's health has"),
        (
            "proxy: {transparentInboundPort: 8082}",
            r"proxy\.transparentInboundPort is 8082.*transparentPort has",
        ),
        ("proxy: {adminPort: 9090}", r"proxy\.adminPort is 9090, which the sidecar's ext_proc has"),
        ("images: {pullPolicy: Sometimes}", r"Sometimes.*images\.pullPolicy"),
        ("resources: {proxyInit: {limits: {memory: 10 MB}}}", r"resources\.proxyInit\.limits\.memory"),
        ("spiffe: {socketPath: tcp://spire}", r"spiffe\.socketPath"),
        ("spiffe: {socketPath: 'unix:///spire.sock'}", r"spiffe\.socketPath"),
        ("images: none", r"images"),
    ],
)
def test_a_bad_platform_configuration_is_refused_with_a_sentence_that_names_the_key(
    text: str, fault: str
) -> None:
    with pytest.raises(ValueError, match=re.compile(fault)):
        parse_platform(text)
