"""What all of the operator's own metrics have in common.

Gauges are read from the caches when somebody scrapes, at the cost of the number of namespaces, never of
agents. No label holds an object's name. What only controllers know is exposed by the replica on which they
run.
"""

import asyncio
from collections.abc import Iterator
from importlib.metadata import version

from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.registry import Collector


class BuildMetrics(Collector):
    """Which version runs."""

    def collect(self) -> Iterator[Metric]:
        """One series, labelled with the version."""
        build = GaugeMetricFamily("kagenti_build_info", "1, labelled with the version", labels=("version",))
        build.add_metric((version("kagenti-operator"),), 1)
        yield build


class Leading:
    """Whether the controllers run on this replica."""

    def __init__(self) -> None:
        self.value = False

    async def run(self) -> None:
        """Say so until cancelled: run it beside the controllers."""
        self.value = True
        try:
            await asyncio.Event().wait()
        finally:
            self.value = False


def gauge(name: str, text: str, value: float) -> GaugeMetricFamily:
    """Build a gauge without labels."""
    return GaugeMetricFamily(name, text, value=float(value))
