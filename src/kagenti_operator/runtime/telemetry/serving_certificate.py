"""The certificate that a server shows: from files, read again when they are replaced, or made by itself."""

import asyncio
import ssl
import sys
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path

import structlog

from kagenti_operator.kube.auth.rotation import FileStamp

log = structlog.get_logger(__name__)


class CertificateError(Exception):
    """A certificate cannot be used; the text says which and what to do."""


class CertificateFiles:
    """A server's TLS settings from a certificate and its key, both PEM.

    Looked at anew in each handshake: certificates are renewed while the server runs. Raises CertificateError
    if they are unusable at first; later the last good ones stay in use until the files fit again.
    """

    def __init__(self, certificate: Path, key: Path) -> None:
        self._certificate = certificate
        self._key = key
        self._stamp = FileStamp((certificate, key))
        try:
            self._stamp.changed()
            self._current = self._load()
        except OSError as error:
            raise CertificateError(
                f"certificate {certificate} and key {key} cannot be used: {error.strerror or error}. "
                "Both must be readable PEM files, and the key the certificate's own"
            ) from error
        self.context = hand_over(self._load(), self._choose)

    def _choose(self) -> ssl.SSLContext:
        try:
            if self._stamp.changed():
                self._current = self._load()
                log.info("Serving a new certificate", path=str(self._certificate))
        except OSError as error:
            # Caught between the two files, or mended later: the next handshake looks again.
            self._stamp.forget()
            log.warning(
                "The new certificate cannot be used, serving the last one",
                path=str(self._certificate),
                error=str(error),
            )
        return self._current

    def _load(self) -> ssl.SSLContext:
        return _load(self._certificate, self._key)


def hand_over(context: ssl.SSLContext, choose: Callable[[], ssl.SSLContext]) -> ssl.SSLContext:
    """Have the context of a listening socket only hand each connection over to the current one."""

    def hand(connection: ssl.SSLObject | ssl.SSLSocket, *_: object) -> None:
        connection.context = choose()

    context.sni_callback = hand
    return context


def _load(certificate: Path, key: Path | None = None) -> ssl.SSLContext:
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    # Without a password OpenSSL asks for it on the terminal, and waits.
    context.load_cert_chain(certificate, key, password="")
    return context


async def build_self_signed_context(names: Sequence[str]) -> ssl.SSLContext:
    """TLS settings with a certificate that nobody else vouches for. Raises CertificateError."""
    command = (sys.executable, "-m", "kagenti_operator.runtime.telemetry.self_signed", *names)
    pipe = asyncio.subprocess.PIPE
    process = await asyncio.create_subprocess_exec(*command, stdout=pipe, stderr=pipe)
    try:
        made, complaints = await process.communicate()
    except asyncio.CancelledError:
        process.kill()
        raise
    if process.returncode != 0:
        reason = complaints.decode(errors="replace").strip().rpartition("\n")[2]
        raise CertificateError(
            f"no certificate could be made: {reason or f'status {process.returncode}'}. "
            "Give one in files, or serve plain HTTP"
        )
    return load_certificate(made)


def load_certificate(pem: bytes) -> ssl.SSLContext:
    """TLS settings with a key and its certificate, PEM, one after the other. Raises CertificateError."""
    try:
        # Only a file can be loaded. It is gone before anybody is served.
        with tempfile.NamedTemporaryFile() as file:
            file.write(pem)
            file.flush()
            return _load(Path(file.name))
    except OSError as error:
        raise CertificateError(
            f"the certificate that was made cannot be loaded by way of a temporary file: {error}. "
            "Mount a writable folder at /tmp, give a certificate in files, or serve plain HTTP"
        ) from error
