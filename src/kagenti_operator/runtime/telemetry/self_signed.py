"""Makes the certificate that a server shows while it has been given none.

Run in a process of its own, as `python -m kagenti_operator.runtime.telemetry.self_signed NAME...`: the
library keeps 10 MiB that the operator needs only here, once, and would carry for as long as it runs. Prints
key and certificate as PEM.
"""

import sys
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

# Go's certutil gives the same: nobody verifies it, and each start makes a new one.
_LIFETIME = timedelta(days=365)
_BACKDATED = timedelta(hours=1)


def build_self_signed(names: Sequence[str], now: datetime) -> bytes:
    """A private key and a certificate for these DNS names, PEM, one after the other."""
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, f"kagenti-operator@{int(now.timestamp())}")])
    certificate = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - _BACKDATED)
        .not_valid_after(now + _LIFETIME)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(x509.SubjectAlternativeName([x509.DNSName(name) for name in names]), critical=False)
        .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), critical=False)
        .sign(key, hashes.SHA256())
    )
    private = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    return private + certificate.public_bytes(serialization.Encoding.PEM)


if __name__ == "__main__":
    sys.stdout.buffer.write(build_self_signed(sys.argv[1:], datetime.now(UTC)))
