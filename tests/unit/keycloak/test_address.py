"""To which addresses the administrator's password may be sent."""

import pytest

from kagenti_operator.keycloak.address import check_address, is_same_address


@pytest.mark.parametrize(
    "url",
    [
        "https://keycloak.example.com",
        "https://keycloak.example.com:8443/auth",
        "http://keycloak-service.keycloak.svc:8080",
        "http://keycloak-service.keycloak.svc.cluster.local:8080",
        "http://127.0.0.1:8180",
        "http://[::1]:8180",
        "http://localhost:8180",
    ],
)
def test_https_anywhere_and_http_within_the_cluster_are_fine(url: str) -> None:
    assert check_address(f"{url}/") == url


@pytest.mark.parametrize(
    ("url", "reason"),
    [
        ("http://keycloak.example.com", "the administrator's password would be sent in the clear"),
        ("http://keycloak-service.keycloak.svc.evil.example", "in the clear"),
        ("http://keycloak-service.keycloak.svc@evil.example", "more in it than host"),
        ("http://10.0.0.1:8080", "in the clear"),
        ("https://user:secret@keycloak.example.com", "more in it than host"),
        ("https://keycloak.example.com?next=1", "more in it than host"),
        ("ftp://keycloak.example.com", "no http or https URL"),
        ("keycloak.example.com", "no http or https URL"),
        ("https://keycloak.example.com:port", "no http or https URL"),
        ("https://[keycloak", "no http or https URL"),
        ("", "no http or https URL"),
    ],
)
def test_other_addresses_are_refused_with_the_reason(url: str, reason: str) -> None:
    with pytest.raises(ValueError, match=reason):
        check_address(url)


def test_a_slash_at_the_end_and_the_case_of_a_host_make_no_other_address() -> None:
    assert is_same_address("http://KC.keycloak.svc:8080", "http://kc.keycloak.svc:8080/")
    assert not is_same_address("http://kc.keycloak.svc:8080", "http://kc.team1.svc:8080")
    assert not is_same_address("http://kc.keycloak.svc:8080", "https://kc.keycloak.svc:8080")
    assert not is_same_address("http://[kc", "http://kc")
