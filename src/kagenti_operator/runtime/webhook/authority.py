"""Makes and renews the authority that signs the webhook's certificate, and that certificate.

Run in a process of its own, as `python -m kagenti_operator.runtime.webhook.authority`: the library keeps 10
MiB that the operator needs only here, seldom. Reads a Request and prints Credentials, as JSON.

An authority that is replaced stays in the bundle until it has expired, and nothing that it signed lasts
longer: whoever trusts the bundle trusts every replica, whichever certificate that still shows.
"""

import sys
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime, timedelta

import msgspec
from cryptography import x509
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from kagenti_operator.runtime.webhook.credentials import Credentials, Request

CA_LIFETIME = timedelta(days=365)
CA_RENEWED_BEFORE = timedelta(days=120)
LIFETIME = timedelta(days=90)
RENEWED_BEFORE = timedelta(days=30)
# A peer's clock may be behind.
_BACKDATED = timedelta(hours=1)
# Of a bundle that somebody wrote.
_MOST_AUTHORITIES = 8
_NAME = "kagenti-operator webhook"

type Key = ec.EllipticCurvePrivateKey


def renew(request: Request, now: datetime) -> Credentials:
    """Keep what will do for long enough, and make the rest."""
    authorities, ca_key = _read_bundle(request.bundle, now), _read_key(request.ca_key)
    renewed: list[str] = []
    usable = bool(authorities and ca_key and _fits(authorities[0], ca_key))
    if ca_key is None or not usable or _left(authorities[0], now) <= CA_RENEWED_BEFORE:
        known = authorities if usable else (*authorities, *_read_bundle(request.trusted, now))
        ca_key = ec.generate_private_key(ec.SECP256R1())
        made = _build_authority(ca_key, now)
        authorities = (made, *[it for it in dict.fromkeys(known) if it != made][: _MOST_AUTHORITIES - 1])
        renewed.append("authority")
    certificate, key = _read_certificate(request.certificate), _read_key(request.key)
    if (
        certificate is None
        or key is None
        or not _is_good(certificate, key, authorities[0], request.names)
        or _left(certificate, now) <= RENEWED_BEFORE
    ):
        key = ec.generate_private_key(ec.SECP256R1())
        certificate = _build_certificate(key, request.names, ca_key, authorities[0], now)
        renewed.append("certificate")
    due = (
        _left(authorities[0], now) - CA_RENEWED_BEFORE,
        _left(certificate, now) - RENEWED_BEFORE,
        # When they are to be left out of the bundle.
        *(_left(authority, now) for authority in authorities[1:]),
    )
    return Credentials(
        bundle=b"".join(authority.public_bytes(serialization.Encoding.PEM) for authority in authorities),
        ca_key=_write_key(ca_key),
        certificate=certificate.public_bytes(serialization.Encoding.PEM),
        key=_write_key(key),
        renewed=tuple(renewed),
        renew_seconds=max(min(due).total_seconds(), 0.0),
    )


def _build_authority(key: Key, now: datetime) -> x509.Certificate:
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, f"{_NAME} CA {int(now.timestamp())}")])
    usage = x509.KeyUsage(
        digital_signature=True,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        key_cert_sign=True,
        crl_sign=True,
        encipher_only=False,
        decipher_only=False,
    )
    return (
        _begin(name, key, now, now + CA_LIFETIME)
        .issuer_name(name)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(usage, critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        .sign(key, hashes.SHA256())
    )


def _build_certificate(
    key: Key, names: Sequence[str], ca_key: Key, authority: x509.Certificate, now: datetime
) -> x509.Certificate:
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, _NAME)])
    issuer = x509.AuthorityKeyIdentifier.from_issuer_public_key(ca_key.public_key())
    return (
        _begin(subject, key, now, min(now + LIFETIME, authority.not_valid_after_utc))
        .issuer_name(authority.subject)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(x509.SubjectAlternativeName([x509.DNSName(name) for name in names]), critical=False)
        .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), critical=False)
        .add_extension(issuer, critical=False)
        .sign(ca_key, hashes.SHA256())
    )


def _begin(subject: x509.Name, key: Key, now: datetime, until: datetime) -> x509.CertificateBuilder:
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - _BACKDATED)
        .not_valid_after(until)
    )


def _is_good(
    certificate: x509.Certificate, key: Key, authority: x509.Certificate, names: Iterable[str]
) -> bool:
    try:
        certificate.verify_directly_issued_by(authority)
        shown = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except (InvalidSignature, UnsupportedAlgorithm, x509.ExtensionNotFound, TypeError, ValueError):
        return False
    return _fits(certificate, key) and set(shown.get_values_for_type(x509.DNSName)) == set(names)


def _fits(certificate: x509.Certificate, key: Key) -> bool:
    return certificate.public_key() == key.public_key()


def _left(certificate: x509.Certificate, now: datetime) -> timedelta:
    return certificate.not_valid_after_utc - now


def _read_bundle(pem: bytes, now: datetime) -> tuple[x509.Certificate, ...]:
    """The certificates that have not expired; none where somebody wrote what cannot be read."""
    try:
        found = x509.load_pem_x509_certificates(pem)
    except ValueError:
        return ()
    return tuple(certificate for certificate in found if _left(certificate, now) > timedelta(0))


def _read_certificate(pem: bytes) -> x509.Certificate | None:
    try:
        return x509.load_pem_x509_certificate(pem)
    except ValueError:
        return None


def _read_key(pem: bytes) -> Key | None:
    try:
        key = serialization.load_pem_private_key(pem, password=None)
    except (ValueError, TypeError, UnsupportedAlgorithm):
        return None
    return key if isinstance(key, ec.EllipticCurvePrivateKey) else None


def _write_key(key: Key) -> bytes:
    return key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )


if __name__ == "__main__":
    asked = msgspec.json.decode(sys.stdin.buffer.read(), type=Request)
    sys.stdout.buffer.write(msgspec.json.encode(renew(asked, datetime.now(UTC))))
