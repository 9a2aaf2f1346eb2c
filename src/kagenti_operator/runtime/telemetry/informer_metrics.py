"""How long ago each informer heard of its kind, read when somebody scrapes. See docs/metrics.md."""

from collections.abc import Iterator, Sequence
from typing import Protocol

from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from kagenti_operator import clock


class Heard(Protocol):
    """The part of an Informer that is needed here."""

    @property
    def name(self) -> str:
        """What people know it by."""
        ...

    @property
    def synced(self) -> bool:
        """Whether it is complete."""
        ...

    @property
    def silent_seconds(self) -> float | None:
        """For how long nothing has been heard of the kind; None before the first answer."""
        ...


class InformerMetrics(Collector):
    """The informers of this replica, by name: what they select, of which there is a fixed number."""

    def __init__(self, informers: Sequence[Heard]) -> None:
        self._informers = informers

    def collect(self) -> Iterator[Metric]:
        """Whether each is complete, and when the API server last said something of its kind."""
        synced = GaugeMetricFamily(
            "kagenti_informer_synced", "Whether the first list of a kind is done", labels=("informer",)
        )
        heard = GaugeMetricFamily(
            "kagenti_informer_last_heard_timestamp_seconds",
            "When the API server last said something of a kind, a bookmark included",
            labels=("informer",),
        )
        for informer in self._informers:
            synced.add_metric((informer.name,), informer.synced)
            silent = informer.silent_seconds
            if silent is not None:
                heard.add_metric((informer.name,), clock.now().timestamp() - silent)
        yield synced
        yield heard
