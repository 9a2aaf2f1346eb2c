"""The packaged manifests fit each other, the table of images, and the examples."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from kagenti_devcluster.cluster.kubectl import Manifest, packaged_manifests, read_manifests
from kagenti_devcluster.demo.steps_operator import SIDECAR_IMAGE
from kagenti_devcluster.node import images
from kagenti_devcluster.profiles import DEFAULT, PROFILES
from kagenti_devcluster.standins.mlflow_server import image_of
from kagenti_devcluster.toolchain import environments

PROJECT = Path(__file__).parents[4]
PACKAGED = sorted((PROJECT / "devcluster/src/kagenti_devcluster/standins/manifests").glob("*.yaml"))
EXAMPLES = sorted((PROJECT / "examples").glob("*/*.yaml"))


def containers(manifests: list[Manifest]) -> Iterator[dict[str, Any]]:
    for found in manifests:
        template: dict[str, Any] = found.get("spec", {}).get("template", {})
        yield from template.get("spec", {}).get("containers", [])


def used_images() -> set[str]:
    used = {c["image"] for c in containers(read_manifests(*PACKAGED, *EXAMPLES))}
    values = yaml.safe_load((PROJECT / "charts/kagenti-operator/values.yaml").read_text())
    served = {image_of(profile) for profile in PROFILES.values()}
    return used | served | {SIDECAR_IMAGE} | {values["controllerManager"]["container"]["image"]["repository"]}


@pytest.mark.parametrize("image", sorted(used_images()))
def test_every_image_that_is_used_stands_for_something(image: str) -> None:
    table = images.ImageTable(
        images.load_images([images.PACKAGED]), find=lambda kind, name: f"/{kind}/{name}"
    )
    assert table.resolve(image)


def test_every_image_of_the_table_is_used() -> None:
    table = images.load_images([images.PACKAGED])
    found = {next(i.image for i in table if i.matches(used)) for used in used_images()}
    assert found == {image.image for image in table}


def test_programs_of_the_source_tree_exist() -> None:
    for image in images.load_images([images.PACKAGED]):
        for text in (*image.entrypoint, *image.env.values()):
            if "{project}" in text:
                assert Path(text.replace("{project}", str(PROJECT))).exists()


def test_the_environments_that_a_user_makes_by_default_are_those_of_the_default_profile() -> None:
    assert f"mlflow-{DEFAULT.mlflow_release}" in environments.DEFAULT_ENVIRONMENTS
    tables = images.load_images([images.PACKAGED])
    examples = {c["image"] for c in containers(read_manifests(*EXAMPLES))}
    needed = {text for i in tables if any(i.matches(e) for e in examples) for text in i.env.values()}
    made = [f"{{env:{name}}}" for name in environments.DEFAULT_ENVIRONMENTS]
    assert all(any(name in text for name in made) for text in needed if "{env:" in text)


@pytest.mark.parametrize("path", PACKAGED, ids=lambda path: path.stem)
def test_every_placeholder_has_a_value_on_every_platform(path: Path) -> None:
    for profile in PROFILES.values():
        values = {**profile.values, "public": "http://127.0.0.1:1", "password": "made"}
        assert "${" not in str(packaged_manifests(path.stem, values=values))


def test_the_collector_listens_where_the_platforms_move_it_and_where_agents_send() -> None:
    deployment, service = packaged_manifests("collector", values=DEFAULT.values)[1:]
    (container,) = containers([deployment])
    assert container["command"][1:] == [
        "--config=/etc/otelcol-config/base.yaml",
        "--set",
        "receivers::otlp::protocols::http::endpoint=0.0.0.0:8335",
    ]
    assert {port["port"] for port in service["spec"]["ports"]} == {4317, 8335}


def test_the_integration_role_may_use_gateway_endpoints_and_the_edit_role_may_not() -> None:
    roles = {o["metadata"]["name"]: o for o in packaged_manifests("mlflow-roles") if "rules" in o}

    def may_use(name: str) -> bool:
        return any("gatewayendpoints/use" in rule["resources"] for rule in roles[name]["rules"])

    assert may_use("mlflow-operator-mlflow-integration")
    assert not may_use("mlflow-operator-mlflow-edit")
