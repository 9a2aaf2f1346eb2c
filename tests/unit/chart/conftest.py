"""Renders the chart with the real helm, untouched by the user's own helm settings."""

import os
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from kagenti_devcluster.toolchain import binaries

CHART = Path(__file__).parents[3] / "charts" / "kagenti-operator"


@pytest.fixture
def helm(tmp_path: Path) -> Callable[..., subprocess.CompletedProcess[str]]:
    """`helm("template", "--values", file)` on this project's chart; the caller judges the exit code."""
    environment = {"PATH": os.environ["PATH"], "HOME": str(tmp_path)}

    def run(command: str, *arguments: str | Path) -> subprocess.CompletedProcess[str]:
        name = ["kagenti-operator"] if command in ("install", "template") else []
        call = [binaries.find("helm"), command, *name, CHART, "--namespace", "kagenti-system", *arguments]
        return subprocess.run(call, env=environment, capture_output=True, text=True, check=False)

    return run
