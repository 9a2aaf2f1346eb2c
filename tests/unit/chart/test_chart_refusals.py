"""Values that would silently do nothing, or collide: each is refused by name, by itself as well."""

import subprocess
from collections.abc import Callable

import pytest

type Helm = Callable[..., subprocess.CompletedProcess[str]]

READER = "metrics.readers[0].name=prometheus-k8s,metrics.readers[0].namespace=monitoring"
REFUSED = (
    ("openshiftConsole.link=true", "openshiftConsole.link is a link to MLflow, but mlflow.enable is false"),
    ("prometheus.enable=true,metrics.enable=false", "prometheus.enable is about metrics"),
    ("grafanaDashboard.enable=true,metrics.enable=false", "grafanaDashboard.enable is about metrics"),
    ("openshiftConsole.dashboard=true,metrics.enable=false", "openshiftConsole.dashboard is about metrics"),
    ("metrics.certificateSecret=tls,metrics.enable=false", "metrics.certificateSecret is about metrics"),
    (f"{READER},metrics.enable=false", "metrics.readers is about metrics"),
    ("metrics.certificateSecret=tls,metrics.secure=false", "metrics.certificateSecret is about HTTPS"),
    (f"{READER},metrics.secure=false", "metrics.readers is about HTTPS"),
    (
        "prometheus.enable=true,prometheus.tokenSecret=scraper,metrics.secure=false",
        "prometheus.tokenSecret is about HTTPS",
    ),
    ("prometheus.tokenSecret=scraper", "prometheus.tokenSecret is for the ServiceMonitor"),
    (f"{READER},rbac.enable=false", "metrics.readers are bound by the chart, but rbac.enable is false"),
    ("metrics.port=8081", "metrics.port is 8081, where the probes are"),
    (
        r"controllerManager.podLabels.app\.kubernetes\.io/component=x",
        "controllerManager.podLabels sets app.kubernetes.io/component, which is the chart's own",
    ),
    (r"prometheus.labels.app\.kubernetes\.io/name=x", "prometheus.labels sets app.kubernetes.io/name"),
    (r"grafanaDashboard.labels.helm\.sh/chart=x", "grafanaDashboard.labels sets helm.sh/chart"),
)


@pytest.mark.parametrize(("values", "said"), REFUSED, ids=[values for values, _ in REFUSED])
def test_is_refused_with_its_name_and_why(values: str, said: str, helm: Helm) -> None:
    refused = helm("template", f"--set={values}")
    assert refused.returncode != 0
    (reported,) = [line for line in refused.stderr.splitlines() if line.startswith("- ")]
    assert reported.startswith(f"- {said}")


@pytest.mark.parametrize(
    "values",
    [
        "metrics.enable=false",
        "metrics.secure=false,prometheus.enable=true,grafanaDashboard.enable=true",
        "metrics.port=8080,rbac.enable=false",
        "openshiftConsole.link=true,mlflow.enable=true",
        r"controllerManager.podLabels.app\.kubernetes\.io/created-by=x",
    ],
)
def test_what_goes_together_is_not(values: str, helm: Helm) -> None:
    accepted = helm("template", f"--set={values}")
    assert accepted.returncode == 0, accepted.stderr
