"""The operator that is measured: a process of its own, in an environment without development tools."""

import asyncio
import json
import os
import signal
import subprocess
import time
import tomllib
import urllib.request
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

from kagenti_devcluster.testing.ports import free_port
from kagenti_devcluster.toolchain import environments

ROOT = Path(__file__).parent.parent
FEATURES = ("--enable-mlflow", "--enable-otel-bootstrap")
_TICKS = os.sysconf("SC_CLK_TCK")


@dataclass(frozen=True, kw_only=True)
class Credentials:
    """How a pod finds the API server: a ServiceAccount folder, and the address in its environment."""

    folder: Path
    port: int


def run_environment() -> Path:
    """The Python of an environment made from the locked run-time dependencies and nothing else."""
    return environments.ensure("run")


def build_environ(workdir: Path) -> dict[str, str]:
    """Environment variables that let that Python find the checkout's package, its version included."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    known = workdir / "metadata" / "kagenti_operator.dist-info"
    known.mkdir(parents=True, exist_ok=True)
    (known / "METADATA").write_text(
        f"Metadata-Version: 2.1\nName: {project['name']}\nVersion: {project['version']}\n"
    )
    return {"PATH": os.environ["PATH"], "PYTHONPATH": f"{ROOT / 'src'}:{known.parent}"}


class Operator:
    """`kagenti-operator run`, and what the kernel and its metrics show of it."""

    def __init__(
        self,
        python: Path,
        workdir: Path,
        credentials: Credentials,
        *flags: str,
        profile: Path | None = None,
    ) -> None:
        self._counts = workdir / "counts.json"
        self.metrics_port = free_port()
        command = [
            *(str(python), "-P", str(ROOT / "benchmarks" / "launch.py")),
            *(str(credentials.folder), str(self._counts), str(profile or "-")),
            *("run", *FEATURES, "--leader-elect", "--health-probe-bind-address=0"),
            *(f"--metrics-bind-address=127.0.0.1:{self.metrics_port}", "--metrics-secure=false", *flags),
        ]
        environ = {
            **build_environ(workdir),
            "KUBERNETES_SERVICE_HOST": "127.0.0.1",
            "KUBERNETES_SERVICE_PORT": str(credentials.port),
            "POD_NAMESPACE": "kagenti-system",
        }
        self.log = workdir / "operator.log"
        with self.log.open("ab") as output:
            self.started = time.monotonic()
            self._process = subprocess.Popen(command, env=environ, stdout=output, stderr=output)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        if self._process.poll() is None:
            self._process.kill()
        self._process.wait()

    @property
    def pid(self) -> int:
        return self._process.pid

    def check(self) -> None:
        if self._process.poll() is not None:
            raise RuntimeError(f"the operator ended with {self._process.returncode}; see {self.log}")

    def memory(self) -> Mapping[str, float]:
        """Resident memory now and its peak, in MiB."""
        fields = dict(line.split(":", 1) for line in self._proc("status").splitlines())
        return {
            "resident_mib": int(fields["VmRSS"].split()[0]) / 1024,
            "peak_mib": int(fields["VmHWM"].split()[0]) / 1024,
        }

    def cpu_seconds(self) -> float:
        fields = self._proc("stat").rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / _TICKS

    def sockets(self) -> int:
        folder = Path(f"/proc/{self.pid}/fd")
        return sum(1 for fd in folder.iterdir() if str(fd.readlink()).startswith("socket:"))

    def _proc(self, name: str) -> str:
        self.check()
        return Path(f"/proc/{self.pid}/{name}").read_text()

    async def requests(self) -> dict[str, int]:
        """Requests to the API server so far, by method and status, from the metrics."""
        found: dict[str, int] = {}
        for line in await self._metrics():
            if line.startswith("rest_client_requests_total{"):
                labels, value = line.rsplit(" ", 1)
                part = dict(pair.split("=") for pair in labels[27:-1].replace('"', "").split(","))
                found[f"{part['method']} {part['code']}"] = int(float(value))
        return found

    async def sample(self, series: str) -> float:
        """The value of a series, given with its labels; 0 while the metrics are not served yet."""
        try:
            lines = await self._metrics()
        except OSError:
            return 0.0
        return next((float(line.rsplit(" ", 1)[1]) for line in lines if line.startswith(f"{series} ")), 0.0)

    async def _metrics(self) -> list[str]:
        url = f"http://127.0.0.1:{self.metrics_port}/metrics"
        return (await asyncio.to_thread(_read, url)).splitlines()

    async def held(self) -> dict[str, Any]:
        """Tasks, and entries of collections, counted by the process itself."""
        self._counts.unlink(missing_ok=True)
        self._process.send_signal(signal.SIGUSR1)
        deadline = time.monotonic() + 60
        while not self._counts.exists():
            self.check()
            if time.monotonic() > deadline:
                raise TimeoutError("the operator did not count what it holds within 60 s")
            await asyncio.sleep(0.05)
        return json.loads(self._counts.read_text())

    async def stop(self) -> float:
        """End it in order; return how many seconds that took."""
        began = time.monotonic()
        self._process.send_signal(signal.SIGTERM)
        status = await asyncio.to_thread(self._process.wait, 60)
        if status:
            raise RuntimeError(f"the operator ended with {status}; see {self.log}")
        return time.monotonic() - began


def _read(url: str) -> str:
    with urllib.request.urlopen(url, timeout=10) as answer:
        return answer.read().decode()
