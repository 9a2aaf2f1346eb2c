"""The CA of MLflow's certificate, for a collector that has it from nowhere else."""

import re
import ssl
from pathlib import Path

import structlog

from kagenti_operator.runtime.telemetry.standing import Standing

log = structlog.get_logger(__name__)

# A file in a mounted ConfigMap or Secret is not watched.
REREAD_SECONDS = 60.0
# More is a whole system's bundle, which the collector has already, and would fill its ConfigMap.
MAX_BYTES = 64 * 2**10

_CERTIFICATE = re.compile(r"-----BEGIN CERTIFICATE-----[A-Za-z0-9+/=\s]+-----END CERTIFICATE-----", re.ASCII)


def read_certificates(text: str) -> str:
    """The certificates of a PEM file, without what stands between them.

    Raises ValueError where there is none, one cannot be used, or they are too many.
    """
    found = "".join(f"{certificate}\n" for certificate in _CERTIFICATE.findall(text))
    if not found:
        raise ValueError("it holds no PEM certificate")
    if len(found) > MAX_BYTES:
        raise ValueError(
            f"it holds more than {MAX_BYTES // 2**10} KiB of certificates: name only MLflow's CA"
        )
    try:
        ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT).load_verify_locations(cadata=found)
    except ssl.SSLError as error:
        raise ValueError(f"a certificate in it cannot be used: {error.reason}") from error
    return found


class MLflowCA:
    """The certificates in a file that may change; a broken one leaves the last good ones."""

    def __init__(self, path: Path | None) -> None:
        self._path = path
        self._last: str | None = None
        self._broken = Standing[None]()

    @property
    def reread_seconds(self) -> float | None:
        """After how many seconds to look again, None where there is no file."""
        return REREAD_SECONDS if self._path else None

    def read(self) -> str | None:
        """The certificates as PEM, None where there are none."""
        if self._path is None:
            return None
        try:
            self._last = read_certificates(self._path.read_text(encoding="utf-8", errors="replace"))
            self._broken.ends(None)
        except (OSError, ValueError) as error:
            why = (error.strerror if isinstance(error, OSError) else None) or str(error)
            if self._broken.holds(None, why):
                log.warning(
                    "Cannot use the CA file for the collector, it verifies MLflow by what it has",
                    path=str(self._path),
                    error=why,
                )
        return self._last
