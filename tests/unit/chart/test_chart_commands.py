"""The commands that the READMEs give for an install."""

import re
import shlex
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
import yaml

from tests.unit.chart.conftest import CHART

READMES = (Path(__file__).parents[3] / "README.md", CHART / "README.md")


def find_commands(readme: Path, start: str) -> list[list[str]]:
    """The commands among the code that begin so, each as its words."""
    text = readme.read_text().replace("\\\n", "")
    return [shlex.split(line) for line in re.findall(rf"^    ({re.escape(start)}.*)$", text, re.MULTILINE)]


@pytest.mark.parametrize("readme", READMES, ids=["README.md", "the chart's README.md"])
def test_what_is_built_and_pushed_is_what_is_installed(
    readme: Path, helm: Callable[..., subprocess.CompletedProcess[str]]
) -> None:
    ((*_, built),) = find_commands(readme, "make image ")
    ((*_, pushed),) = find_commands(readme, "podman push ")
    # The first one; the chart's README goes on with one beside another operator.
    install, *_ = find_commands(readme, "helm upgrade --install ")
    rendered = helm("template", *install[install.index("--set") :])
    assert rendered.returncode == 0, rendered.stderr
    (deployment,) = [o for o in yaml.safe_load_all(rendered.stdout) if o["kind"] == "Deployment"]
    image = deployment["spec"]["template"]["spec"]["containers"][0]["image"]
    assert built == f"IMAGE={image}"
    assert pushed == image
