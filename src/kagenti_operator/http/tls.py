"""Which certificates are believed: the system's CAs and those in files, read again when a file changes."""

import ssl
from collections.abc import Sequence
from pathlib import Path

from kagenti_operator.kube.auth.rotation import FileStamp, tolerate_old_authorities


class TrustStore:
    """TLS settings for a server's certificate.

    A service CA rotates while the operator runs; a file may also be missing, for ever or until somebody
    mounts it, so each use looks whether one has changed (a stat per file).
    """

    def __init__(self, ca_files: Sequence[Path]) -> None:
        self._ca_files = tuple(ca_files)
        self._stamp = FileStamp(self._ca_files, may_be_missing=True)
        # Looked at before loading: a change in between is seen next time.
        self._stamp.changed()
        self._context = self._load()

    def context(self) -> ssl.SSLContext:
        """The TLS context for the files as they are now; the same object while nothing changes."""
        if self._stamp.changed():
            try:
                self._context = self._load()
            except OSError:
                self._stamp.forget()
                raise
        return self._context

    def describe(self) -> str:
        """Say for people which CAs are believed, and which files bring none."""
        names = [
            f"{path} ({problem})" if (problem := _problem_of(path)) else str(path) for path in self._ca_files
        ]
        return ", ".join(["the system's CAs", *names])

    def _load(self) -> ssl.SSLContext:
        context = tolerate_old_authorities(ssl.create_default_context())
        for path in self._ca_files:
            if _problem_of(path) is None:
                context.load_verify_locations(cafile=path)
        return context


def _problem_of(path: Path) -> str | None:
    try:
        ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT).load_verify_locations(cafile=path)
    except FileNotFoundError:
        return "missing"
    except OSError as error:
        # ssl.SSLError is one: no certificate in it.
        return f"unusable: {error.strerror or error}"
    return None
