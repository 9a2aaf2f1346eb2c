"""Where the cluster's state is kept."""

from pathlib import Path

import pytest

from kagenti_devcluster.host.paths import default_directory


@pytest.mark.parametrize(
    ("environ", "directory"),
    [
        ({"KAGENTI_DEVCLUSTER_DIR": "/own"}, "/own"),
        ({"XDG_STATE_HOME": "/xdg", "HOME": "/home/me"}, "/xdg/kagenti-devcluster"),
        ({"HOME": "/home/me"}, "/home/me/.local/state/kagenti-devcluster"),
    ],
)
def test_the_state_folder_is_the_users(environ: dict[str, str], directory: str) -> None:
    assert default_directory(environ) == Path(directory)
