"""TLS as a kubeconfig wants it: whom to trust, and the client certificate to show."""

import base64
import ssl
import tempfile
from pathlib import Path

from kagenti_operator.kube.auth.kubeconfig_file import Cluster, User


def read_authorities(cluster: Cluster) -> bytes | None:
    """Return the cluster's certificate authorities (PEM), None where the system's are meant.

    Raises OSError and ValueError.
    """
    if cluster.certificate_authority_data:
        return decode_inline("certificate-authority-data", cluster.certificate_authority_data)
    return Path(cluster.certificate_authority).read_bytes() if cluster.certificate_authority else None


def decode_inline(field: str, text: str) -> bytes:
    """Return the bytes of a `...-data` field. Raises ValueError."""
    try:
        content = base64.b64decode("".join(text.split()), validate=True)
    except ValueError as error:
        raise ValueError(f"{field} is not base64") from error
    if not content:
        raise ValueError(f"{field} is empty")
    return content


def build_tls_context(cluster: Cluster, user: User) -> ssl.SSLContext:
    """Return a context that trusts the cluster and shows the user's certificate.

    Raises OSError and ValueError.
    """
    context = _build_trusting(cluster)
    if cluster.insecure_skip_tls_verify:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    _show_certificate(context, user)
    return context


def _build_trusting(cluster: Cluster) -> ssl.SSLContext:
    authorities = read_authorities(cluster)
    if authorities is None:
        return ssl.create_default_context()
    try:
        # Certificates are ASCII, comments between them may not be. No data at all would mean the system's.
        return ssl.create_default_context(cadata=authorities.decode("ascii", "ignore") or "\n")
    except ssl.SSLError as error:
        raise ValueError(f"the certificate authority holds no PEM certificates: {error}") from error


def _show_certificate(context: ssl.SSLContext, user: User) -> None:
    if user.client_certificate_data or user.client_key_data:
        load_key_pair(
            context,
            _inline_or_file("client-certificate-data", user.client_certificate_data, user.client_certificate),
            _inline_or_file("client-key-data", user.client_key_data, user.client_key),
        )
    elif user.client_certificate:
        _load(context, user.client_certificate, user.client_key)


def _inline_or_file(field: str, inline: str | None, file: str | None) -> bytes:
    return decode_inline(field, inline) if inline else Path(file or "").read_bytes()


def load_key_pair(context: ssl.SSLContext, certificate: bytes, key: bytes) -> None:
    """Let the context show a client certificate (both PEM). Raises OSError and ValueError."""
    # OpenSSL reads key pairs only from files: one that nobody else can open, for a moment.
    with tempfile.NamedTemporaryFile() as file:
        file.write(certificate + b"\n" + key)
        file.flush()
        _load(context, file.name, None)


def _load(context: ssl.SSLContext, certificate: str, key: str | None) -> None:
    try:
        context.load_cert_chain(certificate, key, password=_refuse_password)
    except ssl.SSLError as error:
        raise ValueError(f"the client certificate or its key cannot be used: {error}") from error


def _refuse_password() -> str:
    # Without this, OpenSSL would ask at the terminal.
    raise ValueError("the client key is encrypted; store it without a password, readable only by you")
