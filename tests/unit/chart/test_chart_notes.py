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


def test_the_notes_say_who_may_scrape_where_nobody_may(say: Say) -> None:
    refused = "Every scrape is answered 403 until the scraper's ServiceAccount may get /metrics"
    notes = say(*SCRAPED)
    assert (
        f"{refused}: name it in metrics.readers, or bind it to ClusterRole kagenti-metrics-reader." in notes
    )
    assert refused not in say(*SCRAPED, READERS)
    assert refused not in say(*SCRAPED, "metrics.secure=false")
    assert refused not in say("mlflow.enable=true")
    assert refused in say("prometheus.enable=true")
    # Then the chart does not make that ClusterRole.
    notes = say(*SCRAPED, "rbac.enable=false")
    assert f"{refused}: bind it to a ClusterRole that allows that, as rbac.enable is false." in notes


def test_the_notes_warn_where_openshifts_prometheus_would_skip_the_monitor(say: Say) -> None:
    skipped = "prometheus.tokenSecret is empty"
    assert skipped in say(*SCRAPED, "platform=openshift")
    assert skipped not in say(*SCRAPED, "platform=openshift", "prometheus.tokenSecret=scraper")
    assert skipped not in say(*SCRAPED, "platform=openshift", "metrics.secure=false")
    assert skipped not in say(*SCRAPED)


BOTH = ("mlflow.enable=true", "otelBootstrap.enable=true")
WORKSPACE = "mlflow.workspace is empty"
NOT_GRANTED = "mlflow.enable is false: the collector is granted no access to MLflow."
LOGS = (
    "  kubectl -n kagenti-system logs --prefix --tail=-1 -l app.kubernetes.io/instance=kagenti-operator,"
    "app.kubernetes.io/component=controller-manager | grep -E "
)
LABEL = "kubectl -n NAMESPACE label deployment AGENT kagenti.io/type=agent"


def test_the_notes_say_how_to_enable_an_operator_that_does_nothing(say: Say) -> None:
    notes = say()
    assert "It does nothing yet" in notes
    assert "Next" not in notes


def test_the_notes_give_the_next_commands(say: Say) -> None:
    notes = say(*BOTH)
    assert "and see that the collector's configuration is in place" in notes
    assert "kubectl -n kagenti-system rollout status deployment/kagenti-controller-manager" in notes
    assert "helm test kagenti-operator --namespace kagenti-system" in notes
    assert f"{LOGS}'Found available MLflow CR|bootstrap complete'\n" in notes
    assert LABEL in notes


def test_the_notes_say_who_else_may_hold_the_collectors_configuration(say: Say) -> None:
    held = "set otelBootstrap.operatorManaged=true there"
    assert held in say(*BOTH)
    assert 'conflict with "rossoctl-operator"' in say(*BOTH, "platform.name=rossoctl")
    assert held not in say("mlflow.enable=true")


def test_without_mlflow_nothing_is_said_of_agents(say: Say) -> None:
    notes = say("otelBootstrap.enable=true")
    assert NOT_GRANTED in notes
    assert WORKSPACE in notes
    assert f"{LOGS}'Found available MLflow CR|bootstrap complete'\n" in notes
    assert LABEL not in notes


def test_without_the_configuration_nothing_is_said_of_it(say: Say) -> None:
    notes = say("mlflow.enable=true", "platform=openshift")
    assert "configuration" not in notes
    assert WORKSPACE not in notes
    assert f"{LOGS}'Found available MLflow CR'\n" in notes
    assert LABEL in notes


def test_a_workspace_is_missed_where_mlflow_wants_one(say: Say) -> None:
    assert WORKSPACE in say(*BOTH)
    assert WORKSPACE in say("otelBootstrap.enable=true", "platform=openshift")
    assert WORKSPACE not in say(*BOTH, "platform=openshift", "mlflow.workspace=team1")
    assert NOT_GRANTED not in say(*BOTH)


def test_the_notes_say_what_agents_wait_for_before_they_get_their_sidecar(say: Say) -> None:
    notes = say("authbridge.enable=true")
    assert "It does nothing yet" not in notes
    assert "kubectl label namespace NAMESPACE kagenti-enabled=true" in notes
    assert "keycloak.publicURL is empty" in notes
    assert "defaults.images.authbridge is empty" in notes
    known = say(
        "authbridge.enable=true", "keycloak.publicURL=https://login", "defaults.images.authbridge=sidecar:1"
    )
    assert "is empty" not in known
    assert "kagenti-enabled" not in say("mlflow.enable=true")
