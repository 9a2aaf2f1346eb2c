"""Copies a container's output into its log file, and keeps that from growing without bound."""

import os

MAX_BYTES = 10 * 1024 * 1024
_CHUNK = 64 * 1024


def previous(name: str) -> str:
    """The name under which the part before is kept."""
    return f"{name}.1"


class LogFile:
    """A log in an open directory: it is found again after the root of this process has changed."""

    def __init__(self, path: str, max_bytes: int = MAX_BYTES) -> None:
        directory, self._name = os.path.split(path)
        self._directory = os.open(directory, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
        self._max_bytes = max_bytes
        self._file = self._open()
        self._size = os.fstat(self._file).st_size

    def _open(self) -> int:
        flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC
        return os.open(self._name, flags, 0o600, dir_fd=self._directory)

    def write(self, content: bytes) -> None:
        """Add to the log; what is too long becomes the part before."""
        if self._size + len(content) > self._max_bytes and self._size:
            os.close(self._file)
            os.replace(
                self._name, previous(self._name), src_dir_fd=self._directory, dst_dir_fd=self._directory
            )
            self._file, self._size = self._open(), 0
        view = memoryview(content)
        while view:
            view = view[os.write(self._file, view) :]
        self._size += len(content)


def copy(source: int, log: LogFile) -> None:
    """Copy until everybody has closed the other end."""
    while content := os.read(source, _CHUNK):
        try:
            log.write(content)
        except OSError:
            # The disk is full, or the folder was removed: the container goes on without a log.
            continue
