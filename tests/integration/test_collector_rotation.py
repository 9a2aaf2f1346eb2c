"""What the real collector does when its token is renewed, and what the operator believes that it does."""

import subprocess
from pathlib import Path

from kagenti_devcluster.node.atomicdir import write_files
from kagenti_devcluster.node.projection import File
from kagenti_devcluster.toolchain import binaries
from kagenti_operator.otelcol import keeps_first_token
from tests.support.collector_process import Collector, run_collector


def renew(folder: Path, token: str) -> None:
    """Replace the token as the kubelet does: all files at once, by the link `..data`."""
    write_files(folder, {"token": File(token.encode()), "ca.crt": File(b"")})


def sent_token(collector: Collector) -> str:
    mlflow, _ = collector.pass_through()
    return mlflow.headers["authorization"].removeprefix("Bearer ")


def test_the_collector_sends_the_token_that_its_version_is_believed_to_send(tmp_path: Path) -> None:
    otelcol = binaries.find("otelcol")
    told = subprocess.run([otelcol, "--version"], capture_output=True, text=True, check=True, timeout=60)
    version = told.stdout.split()[-1]
    folder = tmp_path / "serviceaccount"
    renew(folder, "first")
    with run_collector(otelcol, tmp_path, folder / "token") as collector:
        assert sent_token(collector) == "first"
        renew(folder, "second")
        keeps = keeps_first_token(f"collector:{version}")
        # Ten batches take seconds; one that reads the token again does so at once.
        assert "second" in {sent_token(collector) for _ in range(10)} or keeps
        assert sent_token(collector) == ("first" if keeps else "second")


def test_a_new_collector_begins_with_the_renewed_token(tmp_path: Path) -> None:
    folder = tmp_path / "serviceaccount"
    for token in ("first", "second"):
        renew(folder, token)
        with run_collector(binaries.find("otelcol"), tmp_path, folder / "token") as collector:
            assert sent_token(collector) == token
