from pathlib import Path

import pytest
import trustme

from kagenti_operator.controllers.collector.mlflow_ca import (
    MAX_BYTES,
    MLflowCA,
    read_certificates,
    report_unused,
)


@pytest.fixture(scope="module")
def certificate() -> str:
    return trustme.CA().cert_pem.bytes().decode()


def test_only_the_certificates_of_a_file_are_taken(certificate: str) -> None:
    other = trustme.CA().cert_pem.bytes().decode()
    text = f"# CA of a company: ä\n{certificate}\nsubject=CN\r\n{other}"
    assert read_certificates(text) == certificate + other


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("", "no PEM certificate"),
        ("-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----", "no PEM certificate"),
        ("-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----", "cannot be used"),
    ],
)
def test_what_is_no_certificate_is_refused(text: str, why: str) -> None:
    with pytest.raises(ValueError, match=why):
        read_certificates(text)


def test_a_whole_systems_bundle_is_refused(certificate: str) -> None:
    with pytest.raises(ValueError, match="only MLflow's CA"):
        read_certificates(certificate * (MAX_BYTES // len(certificate) + 1))


def test_a_file_is_followed_and_a_broken_one_leaves_the_last_good(tmp_path: Path, certificate: str) -> None:
    path = tmp_path / "ca.crt"
    ca = MLflowCA(path)
    assert ca.read() is None
    assert ca.problem == "No such file or directory"
    path.write_text(certificate)
    assert ca.read() == certificate
    assert ca.problem is None
    path.write_text("broken")
    assert ca.read() == certificate
    assert ca.problem == "it holds no PEM certificate"
    assert MLflowCA(None).read() is None


def test_a_bundle_that_is_too_large_is_reported_with_file_and_bound(tmp_path: Path, certificate: str) -> None:
    path = tmp_path / "ca.crt"
    path.write_text(certificate * (MAX_BYTES // len(certificate) + 1))
    ca = MLflowCA(path)
    ca.read()
    (report,) = report_unused(path, ca.problem)
    assert report.reason == "MLflowCANotUsed"
    for part in (str(path), "more than 64 KiB of certificates", "mlflow.caFile"):
        assert part in report.message
    assert list(report_unused(path, None)) == []
