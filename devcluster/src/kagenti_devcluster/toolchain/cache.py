"""The user's cache of what is made once and used for long: real binaries and virtual environments.

Everything in it is keyed by a digest of what it was made from, so a changed lock file means another folder
and two checkouts never disturb each other. Only the standard library is imported, because `tools/build.py`
runs before anything is installed.
"""

import fcntl
import hashlib
import os
from collections.abc import Callable, Generator, Iterable, Mapping
from contextlib import contextmanager
from pathlib import Path

type Say = Callable[[str], None]


def cache_dir(environ: Mapping[str, str] = os.environ) -> Path:
    """Return `$KAGENTI_CACHE_DIR`, else `kagenti-operator` in the user's cache folder."""
    if own := environ.get("KAGENTI_CACHE_DIR"):
        return Path(own).expanduser().absolute()
    base = environ.get("XDG_CACHE_HOME") or Path(environ.get("HOME") or Path.home()) / ".cache"
    return Path(base).absolute() / "kagenti-operator"


def checkout() -> Path | None:
    """Return the source tree this module runs from, None when it was installed as a package."""
    root = Path(__file__).resolve().parents[4]
    return root if (root / "tools" / "build.py").is_file() else None


def digest(files: Iterable[Path], *texts: str) -> str:
    """Return 12 hexadecimal digits over the files' names and contents and the texts.

    Raises FileNotFoundError when one of the files does not exist.
    """
    sha = hashlib.sha256()
    for file in files:
        content = file.read_bytes()
        sha.update(f"{file.name} {len(content)}\n".encode())
        sha.update(content)
    for text in texts:
        sha.update(f"{len(text)}\n{text}".encode())
    return sha.hexdigest()[:12]


@contextmanager
def exclusive(lock: Path, say: Say) -> Generator[None]:
    """Hold the lock file; who comes second waits, which is said.

    The lock goes with the process, so one that was killed leaves nothing to clean up.
    """
    lock.parent.mkdir(parents=True, exist_ok=True)
    with lock.open("w") as handle:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            say(f"another process is at this already (it holds {lock}); waiting for it")
            fcntl.flock(handle, fcntl.LOCK_EX)
        yield
