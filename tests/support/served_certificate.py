"""Which certificate a server on loopback shows."""

import asyncio
import socket
import ssl

from cryptography import x509


async def read_served_names(port: int) -> list[str]:
    """The DNS names in the certificate that a new connection is shown, whoever issued it."""
    certificate = await asyncio.to_thread(_read_certificate, port)
    found = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName)
    return found.value.get_values_for_type(x509.DNSName)


def _read_certificate(port: int) -> x509.Certificate:
    context = ssl.create_default_context()
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    with socket.create_connection(("127.0.0.1", port)) as plain, context.wrap_socket(plain) as connection:
        shown = connection.getpeercert(binary_form=True)
    assert shown is not None
    return x509.load_der_x509_certificate(shown)
