"""What the chart renders for a matrix of values, and how it refuses values that cannot be meant."""

import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

type Helm = Callable[..., subprocess.CompletedProcess[str]]

CASES = Path(__file__).parent / "cases"
VALUES = sorted(CASES.glob("*.values.yaml"))


def name_of(path: Path) -> str:
    return path.name.removesuffix(".values.yaml")


def golden_of(values: Path) -> Path:
    refused = name_of(values).startswith("refused-")
    return values.with_name(name_of(values) + (".golden.txt" if refused else ".golden.yaml"))


def options_of(values: Path) -> list[str]:
    """A case may carry helm options of its own in its first line: `# helm: --option`."""
    first = values.read_text().splitlines()[0]
    return first.removeprefix("# helm: ").split() if first.startswith("# helm: ") else []


@pytest.mark.parametrize("values", VALUES, ids=name_of)
def test_renders_as_reviewed(values: Path, helm: Helm, update_golden: bool) -> None:
    result = helm("template", "--values", values, *options_of(values))
    refused = name_of(values).startswith("refused-")
    assert (result.returncode != 0) == refused, result.stderr
    golden = golden_of(values)
    # helm prints the refusals of one level in random order.
    output = "".join(sorted(result.stderr.splitlines(keepends=True))) if refused else result.stdout
    if update_golden:
        golden.write_text(output)
    assert without_blank_lines(output) == without_blank_lines(golden.read_text())


def without_blank_lines(rendered: str) -> list[str]:
    """helm 3 leaves no empty lines between objects where helm 4 does."""
    return [line for line in rendered.splitlines() if line.strip()]


def test_every_golden_file_has_its_values() -> None:
    found = {path for path in CASES.iterdir() if ".golden." in path.name}
    assert found == {golden_of(values) for values in VALUES}


@pytest.mark.parametrize("values", [v for v in VALUES if not name_of(v).startswith("refused-")], ids=name_of)
def test_lints(values: Path, helm: Helm) -> None:
    result = helm("lint", "--strict", "--values", values)
    assert result.returncode == 0, result.stdout
