"""Certificates of the cluster's authorities, written for one owner's eyes, and the key that signs tokens."""

import ssl
from pathlib import Path

from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec
from trustme import CA, LeafCert


def write_private(path: Path, content: bytes) -> None:
    """Write a file that only its owner can read, from its first byte on."""
    path.unlink(missing_ok=True)
    path.touch(mode=0o600)
    path.write_bytes(content)


def write_certificate(path: Path, certificate: LeafCert) -> None:
    """Write private key and certificate, PEM, into one file that only its owner can read."""
    write_private(path, certificate.private_key_and_cert_chain_pem.bytes())


def issue_client(authority: CA, user: str, group: str | None = None) -> LeafCert:
    """A client certificate that the API server reads as a user, in a group perhaps."""
    # Nobody looks at the name, but Go refuses a certificate without any.
    return authority.issue_cert("localhost", common_name=user, organization_name=group)


def serving_context(authority: CA, *names: str) -> ssl.SSLContext:
    """What a server with a certificate for these names and addresses serves TLS with."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    # It would take contexts of pyOpenSSL as well, which is not here to be looked into.
    authority.issue_cert(*names).configure_cert(context)  # pyright: ignore[reportUnknownMemberType]
    return context


def generate_signing_key() -> bytes:
    """A private key, PEM: what ServiceAccount tokens are signed and checked with."""
    key = ec.generate_private_key(ec.SECP256R1())
    # Of this format the API server takes the public half by itself.
    return key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.TraditionalOpenSSL,
        serialization.NoEncryption(),
    )
