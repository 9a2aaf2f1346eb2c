import io
from contextlib import AsyncExitStack
from pathlib import Path

import pytest

from kagenti_devcluster.demo.next_steps import describe_next_steps, quote_path, shorten_path
from kagenti_devcluster.demo.report import Console
from kagenti_devcluster.demo.stage import Stage
from kagenti_devcluster.host.options import ClusterOptions


@pytest.mark.parametrize(
    ("path", "quoted", "shortened"),
    [
        ("/home/me/.local/kubeconfig", '"$HOME"/.local/kubeconfig', "~/.local/kubeconfig"),
        ("/home/me/my files/kubeconfig", "\"$HOME\"/'my files/kubeconfig'", "~/my files/kubeconfig"),
        ("/srv/it's here", "'/srv/it'\"'\"'s here'", "/srv/it's here"),
        ("/home/meander/x", "/home/meander/x", "/home/meander/x"),
    ],
)
def test_paths_are_short_and_can_be_typed(path: str, quoted: str, shortened: str):
    environ = {"HOME": "/home/me"}
    assert quote_path(Path(path), environ) == quoted
    assert shorten_path(Path(path), environ) == shortened


def test_without_a_home_paths_stay_whole():
    assert quote_path(Path("/srv/x"), {}) == "/srv/x"
    assert shorten_path(Path("/srv/x"), {}) == "/srv/x"


@pytest.mark.parametrize(
    ("folder", "option"),
    [("/srv/state", ""), ("/srv/my state", " --directory '/srv/my state'")],
)
def test_what_to_type_is_about_the_cluster_of_the_demo(tmp_path: Path, folder: str, option: str):
    kubectl = tmp_path / "kubectl"
    kubectl.touch(mode=0o755)
    environ = {"PATH": str(tmp_path), "KAGENTI_DEVCLUSTER_DIR": "/srv/state"}
    options = ClusterOptions(directory=Path(folder))
    lines = describe_next_steps(Stage(options, Console(io.StringIO()), AsyncExitStack(), environ))
    commands = [line.split(maxsplit=1)[1] for line in lines[-3:]]
    assert commands == [f"{action}{option}" for action in ("status", "logs weather-agent", "down")]
