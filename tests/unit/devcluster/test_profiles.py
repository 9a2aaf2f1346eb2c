"""The platforms that the cluster can look like."""

from pathlib import Path

import pytest

from kagenti_devcluster.profiles import DEFAULT, PROFILES, Profile
from kagenti_devcluster.toolchain.environments import MLFLOWS

DOCS = Path(__file__).parents[3] / "docs/devcluster.md"


@pytest.mark.parametrize("profile", PROFILES.values(), ids=lambda profile: profile.name)
def test_each_is_documented_as_it_is(profile: Profile) -> None:
    name = f"`{profile.name}`{' (default)' if profile == DEFAULT else ''}"
    path = profile.address_path or ":8443"
    labels = "the platform's operator" if profile.agent_runtimes else "people"
    platform = profile.names.prefix.capitalize()
    row = f"| {name} | {profile.mlflow} | `{profile.applications}` | `{path}` | {platform} | {labels} |"
    assert row in DOCS.read_text().splitlines()


@pytest.mark.parametrize("profile", PROFILES.values(), ids=lambda profile: profile.name)
def test_each_has_an_environment_for_its_mlflow(profile: Profile) -> None:
    assert f"mlflow-{profile.mlflow_release}" in MLFLOWS
