"""Which program stands in for an image."""

from pathlib import Path

import pytest

from kagenti_devcluster.errors import DevClusterError
from kagenti_devcluster.node.images import Image, ImageError, ImageTable, load_images, repository_of


@pytest.mark.parametrize(
    ("reference", "repository"),
    [
        ("web", "web"),
        ("web:1.2", "web"),
        ("registry.example:5000/team/web", "registry.example:5000/team/web"),
        ("registry.example:5000/team/web:1.2", "registry.example:5000/team/web"),
        ("example/web@sha256:0123", "example/web"),
        ("example/web:1@sha256:0123", "example/web"),
    ],
)
def test_an_images_repository_has_no_tag_and_no_digest(reference: str, repository: str) -> None:
    assert repository_of(reference) == repository


def find(kind: str, name: str) -> str:
    return f"<{kind} {name}>".replace(" >", ">")


def test_the_first_image_that_matches_is_taken_and_its_placeholders_are_resolved() -> None:
    table = ImageTable(
        [
            Image(image="example/web", entrypoint=("{bin:web}",), env={"PATH": "{env:x}/bin:{venv}/bin"}),
            Image(image="example/*", entrypoint=("{python}", "-m", "{unknown}")),
        ],
        find,
    )
    web = table.resolve("example/web:7")
    assert web.entrypoint == ("<bin web>",)
    assert web.env == {"PATH": "<env x>/bin:<venv>/bin"}
    assert table.resolve("example/other").entrypoint == ("<python>", "-m", "{unknown}")


def test_a_table_may_tell_the_tags_of_an_image_apart() -> None:
    table = ImageTable(
        [Image(image="example/web:7", args=("new",)), Image(image="example/web", args=("old",))]
    )
    assert table.resolve("example/web:7").args == ("new",)
    assert table.resolve("example/web:7@sha256:0123").args == ("new",)
    assert table.resolve("example/web:6").args == ("old",)


def test_an_unknown_image_is_an_error_that_says_where_to_add_it() -> None:
    with pytest.raises(ImageError, match=r"example/web: add it to a table like images\.yaml"):
        ImageTable([], find).resolve("example/web:1")


@pytest.mark.parametrize(
    ("placeholder", "reported"),
    [
        ("{bin:foo}", r"\{bin:foo\}, but no binary has that name: there are etcd, .*otelcol"),
        ("{env:foo}", r"\{env:foo\}, but no environment has that name: there are mlflow-3.10, .*, agent"),
    ],
)
def test_a_placeholder_for_what_does_not_exist_is_reported_with_what_does(
    placeholder: str, reported: str
) -> None:
    images = ImageTable([Image(image="example/web", entrypoint=(placeholder,))])
    with pytest.raises(ImageError, match=reported):
        images.resolve("example/web:1")


def test_a_table_with_a_mistake_is_named(tmp_path: Path) -> None:
    table = tmp_path / "images.yaml"
    table.write_text("images: [{image: x, comand: [y]}]")
    with pytest.raises(DevClusterError, match=r"images\.yaml cannot be used: .*comand"):
        load_images([table])
