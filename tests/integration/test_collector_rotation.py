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


def test_a_renewed_token_is_sent_without_a_restart_as_the_version_is_believed_to_do(tmp_path: Path) -> None:
    otelcol = binaries.find("otelcol")
    done = subprocess.run([otelcol, "--version"], capture_output=True, text=True, check=True, timeout=60)
    assert not keeps_first_token(f"otel/opentelemetry-collector:{done.stdout.split()[-1]}")
    folder = tmp_path / "serviceaccount"
    renew(folder, "first")
    with run_collector(otelcol, tmp_path, folder / "token") as collector:
        for token in ("second", "third"):
            renew(folder, token)
            # Ten batches take seconds; one that reads the token again does so at once.
            assert token in [sent_token(collector) for _ in range(10)]
            assert sent_token(collector) == token


def test_a_new_collector_begins_with_the_renewed_token(tmp_path: Path) -> None:
    folder = tmp_path / "serviceaccount"
    for token in ("first", "second"):
        renew(folder, token)
        with run_collector(binaries.find("otelcol"), tmp_path, folder / "token") as collector:
            assert sent_token(collector) == token
