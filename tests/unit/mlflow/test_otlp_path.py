import pytest

from kagenti_operator.mlflow.otlp_path import guess, judge, list_candidates

ADDRESS = "https://mlflow.opendatahub.svc:8443"


def test_the_path_is_asked_before_the_root() -> None:
    assert list_candidates(f"{ADDRESS}/mlflow") == (f"{ADDRESS}/mlflow/v1/traces", f"{ADDRESS}/v1/traces")


@pytest.mark.parametrize("address", [ADDRESS, f"{ADDRESS}/", f"{ADDRESS}/?a=b#c"])
def test_an_address_without_a_path_has_one_candidate(address: str) -> None:
    assert list_candidates(address) == (f"{ADDRESS}/v1/traces",)


@pytest.mark.parametrize(
    ("status", "expected"),
    [(400, True), (401, True), (403, True), (422, True), (404, False)]
    + [(status, None) for status in (200, 301, 302, 429, 500, 502, 503)],
)
def test_what_an_answer_means(status: int, expected: bool | None) -> None:
    assert judge(status) is expected


@pytest.mark.parametrize(
    ("version", "path"),
    [
        ("3.10.1", ""),
        ("3.14.0", ""),
        ("v3.15.0+rhaiv.2", ""),
        ("2.22", ""),
        ("3.16.0rc1", "/mlflow"),
        ("3.17.2", "/mlflow"),
        ("4.0.0", "/mlflow"),
        (None, "/mlflow"),
        ("", "/mlflow"),
        ("latest", "/mlflow"),
    ],
)
def test_the_guess_follows_the_version(version: str | None, path: str) -> None:
    assert guess(f"{ADDRESS}/mlflow", version) == f"{ADDRESS}{path}/v1/traces"


def test_without_a_path_there_is_nothing_to_guess() -> None:
    assert guess(ADDRESS, "3.14.0") == guess(ADDRESS, "3.17.0") == f"{ADDRESS}/v1/traces"
