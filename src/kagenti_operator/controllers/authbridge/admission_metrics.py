"""Metrics of the webhook, on every replica. See docs/metrics.md."""

from collections.abc import Iterator

from prometheus_client import Counter, Histogram
from prometheus_client.core import Metric
from prometheus_client.registry import Collector

from kagenti_operator import clock
from kagenti_operator.runtime.webhook.admission import AdmissionRequest, AdmissionResponse, Review

_BUCKETS = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.5, 1.0, 5.0)
_RESULTS = ("injected", "unchanged", "refused", "failed")


class AdmissionMetrics(Collector):
    """How pods were answered, and how long that took."""

    def __init__(self) -> None:
        self._answers = Counter(
            "kagenti_authbridge_admissions_total",
            "Pods that the webhook was asked about, by what became of them",
            ("result",),
            registry=None,
        )
        # A series that first appears with its first failure would hide that failure from `rate()`.
        self._results = {result: self._answers.labels(result) for result in _RESULTS}
        self._seconds = Histogram(
            "kagenti_authbridge_admission_duration_seconds",
            "How long deciding about a pod took, with what had to be written for it",
            buckets=_BUCKETS,
            registry=None,
        )

    def observing(self, review: Review) -> Review:
        """The same review, counted."""

        async def observed(request: AdmissionRequest) -> AdmissionResponse:
            began, result = clock.monotonic(), "failed"
            try:
                response = await review(request)
                result = _result(response)
                return response
            finally:
                self._results[result].inc()
                self._seconds.observe(clock.monotonic() - began)

        return observed

    def collect(self) -> Iterator[Metric]:
        """Both families."""
        yield from self._answers.collect()
        yield from self._seconds.collect()


def _result(response: AdmissionResponse) -> str:
    if response.allowed:
        return "injected" if response.patch else "unchanged"
    return "failed" if response.status and response.status.code >= 500 else "refused"
