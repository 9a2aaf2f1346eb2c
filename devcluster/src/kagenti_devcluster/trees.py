"""Directories with all that is in them."""

import shutil
from pathlib import Path


def remove_tree(directory: Path) -> None:
    """Remove a directory, also what a program made unwritable in it."""
    if not directory.exists():
        return
    for parent, names, _ in directory.walk():
        for name in names:
            inner = parent / name
            if not inner.is_symlink():
                inner.chmod(0o700)
    shutil.rmtree(directory)
