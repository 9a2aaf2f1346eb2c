"""Facts: what may go together, and what an image's tag means."""

import pytest

from kagenti_operator.otelcol import MLflowDestination, has_modern_exporter_names, keeps_first_token


def test_a_workspace_without_an_experiment_is_refused() -> None:
    with pytest.raises(ValueError, match="workspace and experiment id go together"):
        MLflowDestination(traces_endpoint="https://mlflow/v1/traces", workspace="team1")


def test_an_experiment_without_a_workspace_is_refused() -> None:
    with pytest.raises(ValueError, match="workspace and experiment id go together"):
        MLflowDestination(traces_endpoint="https://mlflow/v1/traces", experiment_id="1")


def test_empty_is_not_the_same_as_none() -> None:
    with pytest.raises(ValueError, match="never empty"):
        MLflowDestination(traces_endpoint="https://mlflow/v1/traces", workspace="", experiment_id="")


@pytest.mark.parametrize(
    "image",
    [
        "otel/opentelemetry-collector-contrib:0.144.0",
        "otel/opentelemetry-collector-contrib:0.144",
        "otel/opentelemetry-collector-contrib:v0.149.0",
        "ghcr.io/open-telemetry/opentelemetry-collector-contrib:0.150.1-amd64",
        "ghcr.io/open-telemetry/opentelemetry-collector-releases/opentelemetry-collector-contrib:0.149.0",
        "docker.io/otel/opentelemetry-collector-k8s:0.1000.0",
        "index.docker.io/otel/opentelemetry-collector:0.150.0@sha256:" + "0" * 64,
        "otel/opentelemetry-collector:0.144.0-rc.1",
        "otel/opentelemetry-collector:0.144.0_1",
        "otel/opentelemetry-collector:1.0.0",
    ],
)
def test_a_tag_of_0_144_or_later_means_the_new_names(image: str) -> None:
    assert has_modern_exporter_names(image)


@pytest.mark.parametrize(
    "image",
    [
        "otel/opentelemetry-collector-contrib:0.143.1",
        "otel/opentelemetry-collector-contrib:v0.122.1-amd64",
        "otel/opentelemetry-collector-contrib",
        "otel/opentelemetry-collector-contrib:latest",
        "otel/opentelemetry-collector-contrib@sha256:" + "9" * 64,
        "otel/opentelemetry-collector:0.150abc",
        "otel/opentelemetry-collector:0",
        "otel/opentelemetry-collector:20260101.1",
        "otel/opentelemetry-collector:main-0.150.0",
        "otel/opentelemetry-collector:",
        "",
    ],
)
def test_an_older_or_unknown_version_means_the_old_names(image: str) -> None:
    assert not has_modern_exporter_names(image)


@pytest.mark.parametrize(
    "repository",
    [
        "registry.example.com/otelcol",
        "registry.example.com:5000/otel/opentelemetry-collector-contrib",
        "quay.io/otel/opentelemetry-collector-contrib",
        "registry.example.com/ghcr.io/open-telemetry/opentelemetry-collector-contrib",
        "vendor/opentelemetry-collector",
        "opentelemetry-collector",
        "hotel/opentelemetry-collector",
        "otel/autoinstrumentation-python",
        "ghcr.io/open-telemetry/opentelemetry-operator/opentelemetry-operator",
        "ghcr.io/open-telemetry/opentelemetry-collector-contrib/telemetrygen",
        "registry:0.150/otel/collector",
    ],
)
@pytest.mark.parametrize("tag", ["1.4.0", "0.152.0", "0.138.0"])
def test_the_tag_of_any_other_repository_means_nothing(repository: str, tag: str) -> None:
    assert not has_modern_exporter_names(f"{repository}:{tag}")
    assert keeps_first_token(f"{repository}:{tag}")


@pytest.mark.parametrize(
    ("tag", "keeps"),
    [
        (":0.138.0", False),
        (":0.139.0", True),
        (":0.149.0", True),
        (":0.151.0", True),
        (":0.152.0", False),
        (":latest", True),
        ("@sha256:" + "9" * 64, True),
    ],
)
def test_versions_that_keep_their_first_token(tag: str, keeps: bool) -> None:
    assert keeps_first_token(f"otel/opentelemetry-collector-contrib{tag}") == keeps
