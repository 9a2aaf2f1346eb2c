"""Tokens and certificates in files, read again when the files are replaced, because they rotate."""

import os
import ssl
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Protocol

import structlog

from kagenti_operator.kube.errors import ConfigError

# A rotated token shows in the file's identity; the limit is for file systems without one.
TOKEN_MAX_AGE_SECONDS = 60.0

_log = structlog.get_logger(__name__)


class TokenSource(Protocol):
    """Where bearer tokens come from."""

    def current(self) -> str | None:
        """Return the token as far as it is known without waiting; None where none is used."""
        ...

    async def prepare(self) -> None:
        """See to it that `current` is valid; may take a while. Raises ConfigError."""
        ...

    def reject(self) -> None:
        """The API server refused the current token: get another one before the next use."""
        ...


class FixedToken:
    """A token that never changes, or none."""

    def __init__(self, token: str | None) -> None:
        self._token = token

    def current(self) -> str | None:
        """Return the token."""
        return self._token

    async def prepare(self) -> None:
        """Nothing to do."""

    def reject(self) -> None:
        """There is no other one."""


class FileStamp:
    """Tells whether files were replaced or rewritten since they were last looked at."""

    def __init__(self, paths: Iterable[Path], *, may_be_missing: bool = False) -> None:
        """`may_be_missing`: that a file comes or goes is a change, and no error."""
        # os.stat on a str: this runs before every request.
        self._paths = tuple(str(path) for path in paths)
        self._may_be_missing = may_be_missing
        self._seen: tuple[object, ...] | None = None

    def changed(self) -> bool:
        """Return whether anything differs from the last call; True at first. Raises OSError."""
        stamp = tuple(self._look_at(path) for path in self._paths)
        changed = stamp != self._seen
        self._seen = stamp
        return changed

    def _look_at(self, path: str) -> tuple[int, ...] | None:
        try:
            found = os.stat(path)  # noqa: PTH116
        except OSError:
            if self._may_be_missing:
                return None
            raise
        # A mounted ConfigMap changes by a new symlink target: the inode changes where times do not.
        return found.st_mtime_ns, found.st_ino, found.st_dev, found.st_size

    def forget(self) -> None:
        """Let the next call say that something changed."""
        self._seen = None


class FileToken:
    """A token in a file that somebody rotates, as the kubelet does."""

    def __init__(self, path: Path, *, monotonic: Callable[[], float] = time.monotonic) -> None:
        self._path = path
        self._stamp = FileStamp([path])
        self._monotonic = monotonic
        self._read_at = 0.0
        self._token: str | None = None

    def current(self) -> str:
        """Return the token, from the file where that changed or was read a minute ago.

        Raises ConfigError when there never was one; one that was read before survives an unreadable moment.
        """
        try:
            stale = self._monotonic() - self._read_at >= TOKEN_MAX_AGE_SECONDS
            if self._stamp.changed() or stale or self._token is None:
                self._read()
        except OSError as error:
            self._stamp.forget()
            if self._token is None:
                raise ConfigError(f"cannot read the token file {self._path}: {error.strerror}") from error
            _log.warning(
                "Cannot read the token file, using the last token", path=str(self._path), error=str(error)
            )
        if self._token is None:
            raise ConfigError(f"the token file {self._path} is empty")
        return self._token

    def _read(self) -> None:
        token = self._path.read_text().strip()
        if token:
            self._token, self._read_at = token, self._monotonic()
        else:
            # Caught in the middle of a rewrite: look again at the next use.
            self._stamp.forget()

    async def prepare(self) -> None:
        """Nothing to do: reading the file is quick."""

    def reject(self) -> None:
        """Read the file again at the next use."""
        self._stamp.forget()


class TlsFiles:
    """A TLS context that is made again when one of its files is replaced."""

    def __init__(
        self,
        build: Callable[[], ssl.SSLContext],
        files: Iterable[Path],
        *,
        key_pair: Callable[[], object] | None = None,
    ) -> None:
        """`key_pair`: what else the context is made of; another value makes another context."""
        self._build = build
        self._stamp = FileStamp(files)
        self._stamp.changed()
        self._key_pair = key_pair or (lambda: None)
        self._shown = self._key_pair()
        self._context = tolerate_old_authorities(build())

    def current(self) -> ssl.SSLContext:
        """Return the context; the one before stays in use while new files cannot be read."""
        try:
            shown = self._key_pair()
            if self._stamp.changed() or shown != self._shown:
                self._context = tolerate_old_authorities(self._build())
                self._shown = shown
        except (OSError, ValueError) as error:
            self._stamp.forget()
            _log.warning("Cannot read the TLS files of the API server, using the last ones", error=str(error))
        return self._context


def tolerate_old_authorities(context: ssl.SSLContext) -> ssl.SSLContext:
    """Return the context, which takes CAs without key identifiers too.

    Python 3.13 refuses them, which Go and most clusters' installers never minded.
    """
    context.verify_flags &= ~ssl.VERIFY_X509_STRICT
    return context
