"""Files that are never half there: written under another name, forced to the disk, renamed."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

from flowlib.errors import InputError


def write_at_once(path: str | Path, content: bytes) -> None:
    """Write ``content`` to ``path``; at any moment, and after a kill, the file is the old one or the whole new one.

    The first name ends in ``.part``: that is all a kill can leave behind.

    Args:
        path: its folder is made when missing.
        content: the whole file.

    Raises:
        OSError: the folder cannot be written to, the disk is full; the old file is as it was.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, temporary = tempfile.mkstemp(dir=path.parent, suffix=".part")
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        Path(temporary).chmod(0o644)  # mkstemp makes private files
        Path(temporary).replace(path)
    except BaseException:
        Path(temporary).unlink(missing_ok=True)
        raise


def force_names(folder: str | Path) -> None:
    """Force the names in a folder to the disk, as fsync of a file does for its content."""
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def check_writable(folder: str | Path) -> None:
    """Make ``folder`` and raise ``InputError`` unless files can be written there: ask before a long run, not after."""
    folder = Path(folder)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        handle, temporary = tempfile.mkstemp(dir=folder, suffix=".part")
    except OSError as error:
        raise InputError(
            "path", expected="a folder that can be written to", got=f"{folder} ({error.strerror})"
        ) from error
    os.close(handle)
    Path(temporary).unlink()
