"""What helm says after an install: what is missing, and the next command."""

import subprocess
from collections.abc import Callable

import pytest

type Helm = Callable[..., subprocess.CompletedProcess[str]]
type Say = Callable[..., str]

READERS = "metrics.readers[0].name=prometheus-k8s,metrics.readers[0].namespace=monitoring"


@pytest.fixture
def say(helm: Helm) -> Say:
    """`say("mlflow.enable=true", ...)`: the notes."""

    def run(*values: str) -> str:
        done = helm("install", "--dry-run=client", *(f"--set={value}" for value in values))
        assert done.returncode == 0, done.stderr
        return done.stdout.partition("\nNOTES:\n")[2]

    return run


SCRAPED = ("mlflow.enable=true", "prometheus.enable=true")


def test_who_may_scrape_is_told_where_nobody_may(say: Say) -> None:
    refused = "Every scrape is answered 403 until the scraper's ServiceAccount may get /metrics"
    told = say(*SCRAPED)
    assert f"{refused}: name it in metrics.readers, or bind it to ClusterRole kagenti-metrics-reader." in told
    assert refused not in say(*SCRAPED, READERS)
    assert refused not in say(*SCRAPED, "metrics.secure=false")
    assert refused not in say("mlflow.enable=true")
    # Then the chart does not make that ClusterRole.
    told = say(*SCRAPED, "rbac.enable=false")
    assert f"{refused}: bind it to a ClusterRole that allows that, as rbac.enable is false." in told


def test_openshifts_prometheus_is_told_of_where_it_would_skip_the_monitor(say: Say) -> None:
    skipped = "prometheus.tokenSecret is empty"
    assert skipped in say(*SCRAPED, "platform=openshift")
    assert skipped not in say(*SCRAPED, "platform=openshift", "prometheus.tokenSecret=scraper")
    assert skipped not in say(*SCRAPED, "platform=openshift", "metrics.secure=false")
    assert skipped not in say(*SCRAPED)
