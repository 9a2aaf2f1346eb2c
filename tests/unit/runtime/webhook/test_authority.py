"""Whoever trusts the bundle trusts every certificate that a replica may still show."""

import ssl
from datetime import UTC, datetime, timedelta

from cryptography import x509
from hypothesis import given
from hypothesis import strategies as st

from kagenti_operator.runtime.webhook.authority import (
    CA_LIFETIME,
    CA_RENEWED_BEFORE,
    LIFETIME,
    RENEWED_BEFORE,
    Credentials,
    Request,
    renew,
)

NAMES = ("hook.kagenti-system.svc", "hook.kagenti-system.svc.cluster.local")
NOW = datetime(2026, 11, 28, tzinfo=UTC)


def again(made: Credentials, at: datetime, *, names: tuple[str, ...] = NAMES) -> Credentials:
    """Look at what was made, at another time."""
    request = Request(
        names=names,
        bundle=made.bundle,
        ca_key=made.ca_key,
        certificate=made.certificate,
        key=made.key,
    )
    return renew(request, at)


def authorities(made: Credentials) -> list[x509.Certificate]:
    return x509.load_pem_x509_certificates(made.bundle)


def is_trusted(certificate: bytes, bundle: bytes, at: datetime) -> bool:
    """Whether one of the authorities signed it, and both are valid then."""
    leaf = x509.load_pem_x509_certificate(certificate)
    valid = [it for it in x509.load_pem_x509_certificates(bundle) if it.not_valid_after_utc >= at]
    signed = any(it.subject == leaf.issuer for it in valid)
    return signed and leaf.not_valid_after_utc >= at


def test_everything_is_made_where_there_is_nothing() -> None:
    made = renew(Request(names=NAMES), NOW)
    assert made.renewed == ("authority", "certificate")
    [authority] = authorities(made)
    leaf = x509.load_pem_x509_certificate(made.certificate)
    leaf.verify_directly_issued_by(authority)
    names = leaf.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    assert tuple(names.get_values_for_type(x509.DNSName)) == NAMES
    assert leaf.not_valid_after_utc - NOW == LIFETIME
    assert made.renew_seconds == (LIFETIME - RENEWED_BEFORE).total_seconds()
    # What Go and OpenSSL verify strictly.
    context = ssl.create_default_context(cadata=made.bundle.decode())
    context.verify_flags |= ssl.VERIFY_X509_STRICT
    assert len(context.get_ca_certs()) == 1


def test_what_will_do_is_kept_to_the_byte() -> None:
    made = renew(Request(names=NAMES), NOW)
    kept = again(made, NOW + LIFETIME - RENEWED_BEFORE - timedelta(hours=1))
    assert kept.renewed == ()
    assert (kept.bundle, kept.ca_key, kept.certificate, kept.key) == (
        made.bundle,
        made.ca_key,
        made.certificate,
        made.key,
    )


def test_the_certificate_is_renewed_in_time_by_the_same_authority() -> None:
    made = renew(Request(names=NAMES), NOW)
    renewed = again(made, NOW + LIFETIME - RENEWED_BEFORE)
    assert renewed.renewed == ("certificate",)
    assert renewed.bundle == made.bundle
    assert renewed.certificate != made.certificate


def test_an_authority_that_is_replaced_stays_in_the_bundle_until_it_has_expired() -> None:
    first = renew(Request(names=NAMES), NOW)
    at = NOW + CA_LIFETIME - CA_RENEWED_BEFORE
    second = again(first, at)
    assert second.renewed == ("authority", "certificate")
    assert authorities(second)[1:] == authorities(first)
    expired = again(second, NOW + CA_LIFETIME + timedelta(seconds=1))
    assert authorities(expired) == authorities(second)[:1]


@given(st.lists(st.integers(min_value=1, max_value=80), max_size=12))
def test_whatever_a_replica_shows_is_trusted_as_long_as_it_is_valid(days: list[int]) -> None:
    at, made = NOW, renew(Request(names=NAMES), NOW)
    shown = [made.certificate]
    for step in days:
        at += timedelta(days=step)
        made = again(made, at)
        shown.append(made.certificate)
        # A look is never further away than what is looked at lasts.
        assert x509.load_pem_x509_certificate(made.certificate).not_valid_after_utc > at
        for certificate in shown:
            if x509.load_pem_x509_certificate(certificate).not_valid_after_utc >= at:
                assert is_trusted(certificate, made.bundle, at)


def test_a_certificate_for_other_names_or_with_another_key_is_made_anew() -> None:
    made = renew(Request(names=NAMES), NOW)
    assert again(made, NOW, names=("other.kagenti-system.svc",)).renewed == ("certificate",)
    other = renew(Request(names=NAMES), NOW)
    request = Request(
        names=NAMES, bundle=made.bundle, ca_key=made.ca_key, certificate=made.certificate, key=other.key
    )
    assert renew(request, NOW).renewed == ("certificate",)


def test_what_somebody_wrote_into_the_secret_is_replaced() -> None:
    made = renew(Request(names=NAMES), NOW)
    garbage = Request(names=NAMES, bundle=b"no PEM", ca_key=b"", certificate=b"\xff", key=b"key")
    assert renew(garbage, NOW).renewed == ("authority", "certificate")
    foreign = renew(Request(names=NAMES), NOW)
    mixed = Request(
        names=NAMES, bundle=foreign.bundle, ca_key=made.ca_key, certificate=made.certificate, key=made.key
    )
    assert renew(mixed, NOW).renewed == ("authority", "certificate")


def test_after_a_loss_the_bundle_in_use_goes_on_to_be_trusted() -> None:
    lost = renew(Request(names=NAMES), NOW)
    made = renew(Request(names=NAMES, trusted=lost.bundle), NOW + timedelta(days=1))
    assert authorities(made)[1:] == authorities(lost)
    assert is_trusted(lost.certificate, made.bundle, NOW + timedelta(days=1))
