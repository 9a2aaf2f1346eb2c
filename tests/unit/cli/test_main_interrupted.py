"""Ctrl-C at any time ends the program without a traceback."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

_INTERRUPTED = """
import os, signal, sys
signal.signal(signal.SIGINT, signal.default_int_handler)
from importlib import import_module

class Interrupt:
    def find_spec(self, name, path, target=None):
        if name == sys.argv[1]:
            os.kill(os.getpid(), signal.SIGINT)

sys.meta_path.insert(0, Interrupt())
main = import_module(sys.argv[2]).main
sys.exit(main(sys.argv[3:]))
"""


@pytest.mark.parametrize(
    ("module", "program", "command"),
    [
        ("kagenti_operator.cli.run", "kagenti_operator.cli.main", "check"),
        ("aiohttp", "kagenti_operator.cli.main", "check"),
        ("kagenti_devcluster.host.launcher", "kagenti_devcluster.cli.main", "status"),
    ],
)
def test_while_modules_are_loaded(module: str, program: str, command: str, tmp_path: Path):
    done = subprocess.run(
        [sys.executable, "-c", _INTERRUPTED, module, program, command],
        env=os.environ | {"KAGENTI_DEVCLUSTER_DIR": str(tmp_path)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stdout, done.stderr) == (130, "", "")
