"""Copies that are on the disk, and not only in its cache, when they are said to be made."""

import os
import shutil
from pathlib import Path


def copy_folder(source: Path, target: Path) -> None:
    """Copy a folder, links as what they lead to, with the rights of new files, and wait until it is on the disk."""
    target.mkdir()
    for path in source.iterdir():
        if path.is_dir():
            copy_folder(path, target / path.name)
        else:
            sync(shutil.copyfile(path, target / path.name))
    sync(target)


def sync(path: Path) -> None:
    """Wait until a file's content or a folder's names are on the disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
