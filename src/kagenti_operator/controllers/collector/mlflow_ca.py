"""The CA of MLflow's certificate, for a collector that has it from nowhere else."""

import re
import ssl
from collections.abc import Callable, Iterable
from pathlib import Path

from kagenti_operator.runtime.telemetry.reporter import Report

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


def report_unused(path: Path | None, problem: str | None) -> Iterable[Report]:
    """Report a file that brings the collector no CA. `problem` is None where there is none."""
    if path and problem:
        yield Report(
            reason="MLflowCANotUsed",
            message=f"The collector is given no certificates from the CA file {path} (chart's value "
            f"mlflow.caFile, flag --mlflow-ca-file): {problem}. It goes on with those that it has, which may "
            "not verify MLflow. The file is read again every minute.",
            log=True,
        )


class MLflowCA:
    """The certificates in a file that may change; a broken one leaves the last good ones.

    `in_place` gives those that the collector has, which outlive the operator's process.
    """

    def __init__(self, path: Path | None, in_place: Callable[[], str | None] = lambda: None) -> None:
        self._path = path
        self._in_place = in_place
        self._last: str | None = None
        self._read_back = False
        # Why the file brought nothing when it was last read.
        self.problem: str | None = None

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
            self.problem = None
        except (OSError, ValueError) as error:
            self.problem = (error.strerror if isinstance(error, OSError) else None) or str(error)
            if self._last is None and not self._read_back:
                self._last = self._in_place()
        self._read_back = True
        return self._last
