"""A container's variables and command."""

from collections.abc import Mapping

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kagenti_devcluster.node.environ import (
    SourceMissing,
    build_command,
    build_environment,
    expand,
    read_field,
)
from kagenti_devcluster.node.images import Image
from tests.unit.devcluster.node.builders import FACTS, build_container

CONTENT: dict[tuple[str, str], Mapping[str, bytes]] = {
    ("ConfigMap", "settings"): {"colour": b"blue"},
    ("Secret", "keys"): {"api": b"s3cret"},
}
IMAGE = Image(image="example/x", entrypoint=("run",), args=("--default",), env={"A": "image", "B": "image"})


def lookup(kind: str, name: str) -> Mapping[str, bytes] | None:
    return CONTENT.get((kind, name))


@pytest.mark.parametrize(
    ("text", "expanded"),
    [
        ("$(A)/$(B)", "1/2"),
        ("$(UNKNOWN)", "$(UNKNOWN)"),
        ("$$(A)", "$(A)"),
        ("$$$(A)", "$1"),
        ("$A ${A} $( A)", "$A ${A} $( A)"),
        ("$(A", "$(A"),
    ],
)
def test_references_are_expanded_as_kubernetes_does(text: str, expanded: str) -> None:
    assert expand(text, {"A": "1", "B": "2"}) == expanded


@given(st.text())
def test_texts_without_dollars_stay_as_they_are(text: str) -> None:
    plain = text.replace("$", "")
    assert expand(plain, {"A": "1"}) == plain


def test_later_sources_win_and_variables_may_use_earlier_ones() -> None:
    container = build_container(
        envFrom=[{"prefix": "P_", "configMapRef": {"name": "settings"}}],
        env=[{"name": "B", "value": "pod"}, {"name": "C", "value": "$(A)-$(B)-$(P_colour)-$(D)"}],
    )
    values = build_environment(container, IMAGE, {"A": "base", "PATH": "/x"}, FACTS, lookup)
    assert values["PATH"] == "/x"
    assert values["C"] == "image-pod-blue-$(D)"


def test_values_come_from_objects_and_from_the_pod() -> None:
    container = build_container(
        env=[
            {"name": "KEY", "valueFrom": {"secretKeyRef": {"name": "keys", "key": "api"}}},
            {"name": "IP", "valueFrom": {"fieldRef": {"fieldPath": "status.podIP"}}},
            {
                "name": "OPTIONAL",
                "valueFrom": {"secretKeyRef": {"name": "keys", "key": "none", "optional": True}},
            },
        ]
    )
    values = build_environment(container, IMAGE, {}, FACTS, lookup)
    assert (values["KEY"], values["IP"]) == ("s3cret", "10.77.0.9")
    assert "OPTIONAL" not in values


@pytest.mark.parametrize(
    ("fields", "problem"),
    [
        (
            {"env": [{"name": "X", "valueFrom": {"secretKeyRef": {"name": "none", "key": "k"}}}]},
            "Secret 'none' does not exist",
        ),
        (
            {"env": [{"name": "X", "valueFrom": {"configMapKeyRef": {"name": "settings", "key": "k"}}}]},
            "ConfigMap 'settings' has no key 'k'",
        ),
        ({"envFrom": [{"secretRef": {"name": "none"}}]}, "Secret 'none' does not exist"),
        (
            {"env": [{"name": "X", "valueFrom": {"fieldRef": {"fieldPath": "status.phase"}}}]},
            "the pod's field status.phase cannot be used",
        ),
    ],
)
def test_what_is_missing_is_named(fields: dict[str, object], problem: str) -> None:
    with pytest.raises(SourceMissing, match=problem):
        build_environment(build_container(**fields), IMAGE, {}, FACTS, lookup)


@pytest.mark.parametrize(
    ("path", "value"),
    [
        ("metadata.name", "web-0"),
        ("metadata.namespace", "team1"),
        ("metadata.uid", "u-1"),
        ("metadata.labels['app']", "web"),
        ("metadata.annotations['none']", ""),
        ("metadata.labels", 'app="web"\ntier="front"'),
        ("spec.serviceAccountName", "robot"),
        ("spec.nodeName", "devcluster"),
        ("status.hostIP", "10.77.0.1"),
    ],
)
def test_fields_of_the_pod(path: str, value: str) -> None:
    assert read_field(FACTS, path) == value


@pytest.mark.parametrize(
    ("fields", "command"),
    [
        ({}, ["run", "--default"]),
        ({"args": ["--to=$(A)"]}, ["run", "--to=1"]),
        ({"command": ["other"]}, ["other"]),
        ({"command": ["other"], "args": ["$(A)"]}, ["other", "1"]),
    ],
)
def test_a_pod_replaces_the_images_command_as_in_kubernetes(
    fields: dict[str, list[str]], command: list[str]
) -> None:
    assert build_command(build_container(**fields), IMAGE, {"A": "1"}) == command
