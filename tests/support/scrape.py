"""Reading the operator's metrics as Prometheus does."""

import asyncio
import ssl
import urllib.request
from collections.abc import Mapping, Sequence
from urllib.error import HTTPError

from prometheus_client.metrics_core import Metric
from prometheus_client.parser import text_string_to_metric_families

from kagenti_devcluster.testing.platform import eventually
from tests.support.operator_process import OperatorProcess


def get(url: str, token: str | None = None) -> tuple[int, str]:
    """Status and body; whatever certificate the server shows."""
    context = ssl.create_default_context()
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    request = urllib.request.Request(url)
    if token is not None:
        request.add_header("Authorization", f"Bearer {token}")
    try:
        with urllib.request.urlopen(request, timeout=10, context=context) as answer:
            return answer.status, answer.read().decode()
    except HTTPError as refusal:
        with refusal:
            return refusal.code, refusal.read().decode()


class Scrape:
    """One scrape: every sample by name and labels."""

    def __init__(self, text: str) -> None:
        self.families: Sequence[Metric] = list(text_string_to_metric_families(text))
        self._samples = {
            (s.name, tuple(sorted(s.labels.items()))): s.value for f in self.families for s in f.samples
        }

    def value(self, name: str, **labels: str) -> float | None:
        """The sample with exactly these labels; None where there is none."""
        return self._samples.get((name, tuple(sorted(labels.items()))))

    def labels(self) -> Mapping[str, set[str]]:
        """Every sample's name, and the labels with which it occurs."""
        found: dict[str, set[str]] = {}
        for name, labels in self._samples:
            found.setdefault(name, set()).update(key for key, _ in labels)
        return found


async def wait_for_server(operator: OperatorProcess) -> None:
    await operator.expect_log("Listening", matching=lambda line: line["server"] == "metrics")


async def scrape(port: int) -> Scrape:
    """Scrape over plain HTTP."""
    status, text = await asyncio.to_thread(get, f"http://127.0.0.1:{port}/metrics")
    assert status == 200
    return Scrape(text)


async def expect(port: int, name: str, value: float, *, seconds: float = 60, **labels: str) -> None:
    """Wait until a scrape shows that value."""

    async def shown() -> None:
        found = (await scrape(port)).value(name, **labels)
        assert found == value, f"{name}{labels} is {found}, not {value}"

    await eventually(shown, seconds=seconds)
