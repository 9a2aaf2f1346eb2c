"""The packaged manifests fit each other, the table of images, and the examples."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from kagenti_devcluster.cluster.kubectl import Manifest, packaged_manifests, read_manifests
from kagenti_devcluster.node import images
from kagenti_devcluster.standins.mlflow_server import IMAGE

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
    return used | {IMAGE, values["controllerManager"]["container"]["image"]["repository"]}


@pytest.mark.parametrize("image", sorted(used_images()))
def test_every_image_that_is_used_stands_for_something(image: str) -> None:
    table = images.ImageTable(
        images.load_images([images.PACKAGED]), find=lambda kind, name: f"/{kind}/{name}"
    )
    assert table.resolve(image)


def test_every_image_of_the_table_is_used() -> None:
    repositories = {images.repository_of(image) for image in used_images()}
    assert {image.image for image in images.load_images([images.PACKAGED])} == repositories


def test_programs_of_the_source_tree_exist() -> None:
    for image in images.load_images([images.PACKAGED]):
        for text in (*image.entrypoint, *image.env.values()):
            if "{project}" in text:
                assert Path(text.replace("{project}", str(PROJECT))).exists()


def test_the_two_mlflow_crds_differ_in_their_scope_only() -> None:
    (cluster,) = packaged_manifests("mlflow-crd")
    (namespaced,) = packaged_manifests("mlflow-crd-namespaced")
    assert cluster["spec"].pop("scope") == "Cluster"
    assert namespaced["spec"].pop("scope") == "Namespaced"
    assert cluster == namespaced


def test_the_integration_role_may_use_gateway_endpoints_and_the_edit_role_may_not() -> None:
    roles = {o["metadata"]["name"]: o for o in packaged_manifests("mlflow-roles") if "rules" in o}

    def may_use(name: str) -> bool:
        return any("gatewayendpoints/use" in rule["resources"] for rule in roles[name]["rules"])

    assert may_use("mlflow-operator-mlflow-integration")
    assert not may_use("mlflow-operator-mlflow-edit")
