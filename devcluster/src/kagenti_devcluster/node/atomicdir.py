"""A directory whose files change all at once, laid out as the kubelet does it.

The files lie in a directory of their own, to which the link `..data` points; each name on the outside is a
link through `..data`. Replacing that one link replaces everything, also for those who watch it, such as
certificate reloaders (kubernetes: pkg/volume/util/atomic_writer.go).
"""

import os
import shutil
import tempfile
from pathlib import Path, PurePosixPath

from kagenti_devcluster.node.projection import Files

_DATA = "..data"
_DATA_NEXT = "..data_tmp"


def _fill(directory: Path, files: Files) -> None:
    for name, file in files.items():
        path = directory / name
        path.parent.mkdir(parents=True, exist_ok=True)
        # What a restrictive mask would take away.
        handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(handle, "wb") as output:
            output.write(file.content)
            os.fchmod(handle, file.mode)


def _link_names(directory: Path, names: set[str]) -> None:
    for entry in directory.iterdir():
        if entry.is_symlink() and not entry.name.startswith("..") and entry.name not in names:
            entry.unlink()
    for name in names:
        link = directory / name
        if not link.is_symlink():
            link.symlink_to(PurePosixPath(_DATA) / name)


def write_files(directory: Path, files: Files) -> None:
    """Make a directory hold these files and no others, in one step."""
    directory.mkdir(parents=True, exist_ok=True)
    fresh = Path(tempfile.mkdtemp(prefix="..", dir=directory))
    fresh.chmod(0o755)
    _fill(fresh, files)
    data = directory / _DATA
    before = data.readlink() if data.is_symlink() else None
    following = directory / _DATA_NEXT
    following.unlink(missing_ok=True)
    following.symlink_to(fresh.name)
    following.rename(data)
    _link_names(directory, {PurePosixPath(name).parts[0] for name in files})
    if before is not None:
        shutil.rmtree(directory / before)
