"""What to type to look around in the cluster when the demo is over."""

import os
import shlex
import shutil
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

from kagenti_devcluster.demo.stage import TEAM, Stage
from kagenti_devcluster.host.paths import directory_option
from kagenti_devcluster.toolchain import binaries


def describe_next_steps(stage: Stage) -> Sequence[str]:
    """Lines for people, with commands indented that work as they are printed."""
    environ = stage.environ
    lines = ["The cluster stays up. Look around:"]
    if shutil.which("kubectl", path=environ.get("PATH")) is None:
        lines.append(f"  PATH=$PATH:{quote_path(binaries.find('kubectl').parent, environ)}")
    lines += [f"  export KUBECONFIG={quote_path(stage.paths.kubeconfig, environ)}", "  kubectl get pods -A"]
    where = directory_option(stage.paths.root, environ)
    lines += [f"  {_program()} {action}{where}" for action in ("status", "logs weather-agent", "down")]
    if stage.trace_id:
        lines += _describe_mlflow(stage)
    return lines


def _describe_mlflow(stage: Stage) -> Sequence[str]:
    name, key = stage.mlflow_authority
    return (
        f"MLflow, for whoever may read {TEAM}:",
        f"  MLFLOW={stage.mlflow_url}",
        f"  TOKEN=$(kubectl -n {TEAM} create token trace-reader)",
        f"  kubectl -n {TEAM} get configmap {name} -o go-template='{{{{index .data \"{key}\"}}}}' >ca.crt",
        f'  curl --cacert ca.crt -H "Authorization: Bearer $TOKEN" -H "X-MLFLOW-WORKSPACE: {TEAM}" \\',
        f'    "$MLFLOW/api/3.0/mlflow/traces/get?trace_id={stage.trace_id}"',
    )


def quote_path(path: Path, environ: Mapping[str, str]) -> str:
    """A path for a shell, from $HOME where it lies there."""
    home = environ.get("HOME")
    if home and path.is_relative_to(home):
        return f'"$HOME"/{shlex.quote(str(path.relative_to(home)))}'
    return shlex.quote(str(path))


def shorten_path(path: Path, environ: Mapping[str, str]) -> str:
    """A path for people, from ~ where it lies there."""
    home = environ.get("HOME")
    return f"~/{path.relative_to(home)}" if home and path.is_relative_to(home) else str(path)


def _program() -> str:
    """How this program was called, as short as it can be typed from here."""
    path = Path(sys.argv[0]).absolute()
    if shutil.which(path.name) == str(path):
        return path.name
    relative = os.path.relpath(path)
    return relative if len(relative) < len(str(path)) else str(path)
