"""What the flags about Keycloak become, and what is refused before anything is asked of a cluster."""

import argparse

import pytest

from kagenti_operator.cli import keycloak_flags
from kagenti_operator.cli.errors import UsageError
from kagenti_operator.contract import KAGENTI
from kagenti_operator.controllers.settings import Settings


def settings_of(*arguments: str) -> Settings:
    parser = argparse.ArgumentParser()
    parser.add_argument("--enable-authbridge", action="store_true")
    keycloak_flags.add_flags(parser)
    return Settings(**keycloak_flags.build_settings(parser.parse_args(arguments), KAGENTI))


def test_by_default_keycloak_is_the_platforms_service_and_nothing_is_registered() -> None:
    settings = settings_of()
    assert settings.keycloak_address == "http://keycloak-service.keycloak.svc:8080"
    assert settings.keycloak_realms == ("kagenti",)
    assert not settings.enable_client_registration


def test_another_namespace_is_another_service() -> None:
    settings = settings_of("--keycloak-namespace=identity")
    assert settings.keycloak_address == "http://keycloak-service.identity.svc:8080"


def test_realms_are_the_default_one_and_further_ones() -> None:
    settings = settings_of("--keycloak-realm=a", "--keycloak-further-realm=b", "--keycloak-further-realm=a")
    assert settings.keycloak_realms == ("a", "b")


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--enable-client-registration"], "add --enable-authbridge"),
        (["--keycloak-url=http://keycloak.example.com"], "would be sent in the clear"),
        (["--keycloak-realm=master"], "realm master is Keycloak's own"),
        (["--keycloak-further-realm=master"], "realm master is Keycloak's own"),
    ],
)
def test_what_would_not_be_safe_is_refused(arguments: list[str], said: str) -> None:
    with pytest.raises(UsageError, match=said):
        settings_of(*arguments)
