from collections.abc import AsyncIterator

import msgspec
import pytest

from kagenti_operator.controllers.authbridge.facts import AuthBridgeFacts
from kagenti_operator.controllers.authbridge.gates import Gates
from kagenti_operator.controllers.settings import Settings
from kagenti_operator.kube.objects.models import ConfigMap, KubeObject, ObjectMeta, SharedConfigMap
from kagenti_operator.runtime.observable import Observable
from tests.unit.controllers.dependencies import open_dependencies, put


def config_map(name: str, namespace: str, **data: str) -> ConfigMap:
    body = {"metadata": {"name": name, "namespace": namespace}, "data": data}
    return msgspec.convert(body, ConfigMap)


def shared(name: str, namespace: str, **data: str) -> SharedConfigMap:
    return msgspec.convert(msgspec.to_builtins(config_map(name, namespace, **data)), SharedConfigMap)


@pytest.fixture
async def facts() -> AsyncIterator[AuthBridgeFacts]:
    async with open_dependencies(Settings()) as dependencies:
        yield AuthBridgeFacts(dependencies, Observable[bool | None](None))


async def test_a_bad_edit_keeps_what_held_before(facts: AuthBridgeFacts) -> None:
    name = "kagenti-feature-gates"
    put(
        facts.gates.informer,
        config_map(name, "kagenti-system", **{"feature-gates.yaml": "injectTools: true"}),
    )
    assert facts.observe("team1").gates == Gates(inject_tools=True)
    put(facts.gates.informer, config_map(name, "kagenti-system", **{"feature-gates.yaml": "injectTools: ["}))
    assert facts.observe("team1").gates == Gates(inject_tools=True)
    facts.gates.informer.cache.replace({})
    assert facts.observe("team1").gates == Gates()


async def test_on_openshift_nothing_is_redirected_without_constraints(facts: AuthBridgeFacts) -> None:
    assert facts.observe("team1").platform.proxy.allowed_egress_enforcement == ("enforce-redirect", "none")
    facts.is_openshift.set(True)
    assert facts.observe("team1").platform.proxy.allowed_egress_enforcement == ("none",)


async def test_with_constraints_openshift_is_as_the_platform_says() -> None:
    async with open_dependencies(Settings(authbridge_scc="kagenti-authbridge")) as dependencies:
        facts = AuthBridgeFacts(dependencies, Observable[bool | None](True))
        assert facts.observe("team1").platform.proxy.allowed_egress_enforcement == (
            "enforce-redirect",
            "none",
        )


async def test_a_namespaces_configmaps_and_the_driver_are_observed(facts: AuthBridgeFacts) -> None:
    assert facts.observe("team1").namespace.base is None
    put(facts.namespaces.configs, shared("authbridge-config", "team1", ISSUER="https://issuer"))
    put(
        facts.namespaces.runtime_configs,
        shared("authbridge-runtime-config", "team1", **{"config.yaml": "mode: lite"}),
    )
    put(facts.drivers, KubeObject(metadata=ObjectMeta(name="csi.spiffe.io")))
    found = facts.observe("team1")
    assert found.namespace.config == {"ISSUER": "https://issuer"}
    assert found.namespace.base == "mode: lite"
    assert found.surroundings.has_spiffe_driver
    assert facts.observe("team2").namespace.config == {}


async def test_a_lines_end_is_no_part_of_a_value(facts: AuthBridgeFacts) -> None:
    put(facts.namespaces.configs, shared("authbridge-config", "team1", CLIENT_AUTH_TYPE="federated-jwt\n"))
    assert facts.observe("team1").namespace.config == {"CLIENT_AUTH_TYPE": "federated-jwt"}
