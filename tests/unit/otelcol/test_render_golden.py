"""The configuration of every variant, byte by byte."""

from pathlib import Path

import pytest

from .golden_cases import GOLDEN, GoldenCase, golden_cases


@pytest.mark.parametrize("case", golden_cases(), ids=lambda case: case.name)
def test_configuration_is_the_golden_one(case: GoldenCase, update_golden: bool) -> None:
    rendered = case.rendered()
    if update_golden:
        case.output.write_text(rendered)
    assert rendered == case.output.read_text()


def test_every_golden_output_has_its_input() -> None:
    outputs = {path.name.removesuffix(".out.yaml") for path in GOLDEN.glob("*.out.yaml")}
    assert outputs == {case.name for case in golden_cases()}


def test_nothing_else_lies_between_the_golden_files() -> None:
    def is_golden(path: Path) -> bool:
        return path.name.endswith((".in.yaml", ".out.yaml"))

    assert [path.name for path in GOLDEN.iterdir() if not is_golden(path)] == []
