from pathlib import Path

import pytest

from kagenti_operator.sandbox.demo.ways_in import quote_path, shorten_path


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
