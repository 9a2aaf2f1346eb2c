import pytest

from kagenti_operator.http.service import Service, needs_service_ca, service_of


@pytest.mark.parametrize(
    "url",
    [
        "https://mlflow.opendatahub.svc:8443/mlflow",
        "https://mlflow.opendatahub.svc.cluster.local:8443",
        "http://mlflow.opendatahub.svc",
        "https://MLflow.opendatahub.svc.cluster.local.:8443/",
        "https://mlflow-0.mlflow.opendatahub.svc:8443",
        "https://mlflow-0.mlflow.opendatahub.svc.cluster.local.:8443",
    ],
)
def test_a_service_is_found_in_the_host(url: str) -> None:
    assert service_of(url) == Service(namespace="opendatahub", name="mlflow")


@pytest.mark.parametrize(
    "url",
    [
        "https://mlflow.example.com/mlflow",
        "https://127.0.0.1:5000",
        "https://[::1]:5000",
        "https://mlflow:5000",
        "https://mlflow.opendatahub:8443",
        "https://mlflow.opendatahub.svc.example.com",
        "https://mlflow.svc:8443",
        "https://a.b.mlflow.opendatahub.svc:8443",
    ],
)
def test_any_other_host_is_no_service(url: str) -> None:
    assert service_of(url) is None
    assert not needs_service_ca(url)


def test_the_service_ca_is_for_services_that_are_asked_by_https() -> None:
    assert needs_service_ca("https://mlflow.opendatahub.svc.cluster.local.:8443/mlflow")
    assert not needs_service_ca("http://mlflow.opendatahub.svc:5000")
