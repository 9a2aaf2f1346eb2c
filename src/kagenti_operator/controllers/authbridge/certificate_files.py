"""The webhook's certificate in files: cert-manager's, or that of OpenShift's service CA."""

import ssl
from pathlib import Path

from kagenti_operator.runtime.telemetry.serving_certificate import CertificateFiles


def load_files(folder: Path) -> CertificateFiles:
    """The certificate in a folder, followed as it is renewed. Raises CertificateError."""
    return CertificateFiles(folder / "tls.crt", folder / "tls.key")


class FileCertificate:
    """Shows what is in a folder."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    async def provide(self) -> ssl.SSLContext:
        """TLS settings for a listening socket. Raises CertificateError."""
        return load_files(self._folder).context
