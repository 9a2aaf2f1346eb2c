"""Every row of the specification: a pod and what decides about it in, what becomes of it out."""

import pytest

from .golden import CASES, NAMES, load, render


@pytest.mark.parametrize("name", NAMES)
def test_what_becomes_of_a_pod_is_the_golden_outcome(name: str, update_golden: bool) -> None:
    path, rendered = CASES / f"{name}.out.yaml", render(load(name).decide())
    if update_golden:
        path.write_text(rendered)
    assert rendered == path.read_text()


def test_every_golden_outcome_has_its_case() -> None:
    assert {path.name for path in CASES.glob("*.out.yaml")} == {f"{name}.out.yaml" for name in NAMES}
