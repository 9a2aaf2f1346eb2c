"""What is written, field by field."""

from collections.abc import Callable

import pytest

from kagenti_operator.kube.manifests import Manifest

from .golden_cases import CASES, GOLDEN, OWNED, render


@pytest.mark.parametrize("name", CASES)
def test_what_is_written_is_the_golden_object(name: str, update_golden: bool) -> None:
    path, rendered = GOLDEN / f"{name}.yaml", render(CASES[name]())
    if update_golden:
        path.write_text(rendered)
    assert rendered == path.read_text()


def test_every_golden_file_has_its_case() -> None:
    assert {path.name for path in GOLDEN.iterdir()} == {f"{name}.yaml" for name in CASES}


@pytest.mark.parametrize("build", OWNED, ids=lambda build: build.__name__)
def test_what_has_an_owner_is_otherwise_the_same_without(build: Callable[..., Manifest]) -> None:
    owned, unowned = build(owned=True), build(owned=False)
    without = {key: value for key, value in owned["metadata"].items() if key != "ownerReferences"}
    assert unowned == {**owned, "metadata": without}
    assert len(owned["metadata"]["ownerReferences"]) == 1
