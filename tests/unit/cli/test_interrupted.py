"""Ctrl-C at any time ends the program without a traceback."""

import subprocess
import sys
from pathlib import Path

import pytest

_INTERRUPTED = """
import os, signal, sys
signal.signal(signal.SIGINT, signal.default_int_handler)
from kagenti_operator.cli.main import main

class Interrupt:
    def find_spec(self, name, path, target=None):
        if name == sys.argv[1]:
            os.kill(os.getpid(), signal.SIGINT)

sys.meta_path.insert(0, Interrupt())
sys.exit(main(["sandbox", "status", "--directory", sys.argv[2]]))
"""


@pytest.mark.parametrize(
    "module", ["kagenti_operator.cli.run", "aiohttp", "kagenti_operator.sandbox.launcher"]
)
def test_while_modules_are_loaded(module: str, tmp_path: Path):
    done = subprocess.run(
        [sys.executable, "-c", _INTERRUPTED, module, str(tmp_path)],
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stdout, done.stderr) == (130, "", "")
