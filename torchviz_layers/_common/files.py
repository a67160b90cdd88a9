"""Files and folders of the user's: tried before the work, and read without running what is in them."""

from __future__ import annotations

import errno
import tempfile
import zipfile
import zlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np


def try_folder(folder: Path) -> None:
    """Make a folder if it isn't there and write into it; raise `OSError` where that fails."""
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryFile(dir=folder):
        pass


def write_together(contents: Mapping[Path, bytes]) -> None:
    """Write files beside their places, then rename them; where one fails, raise `OSError` and leave nothing behind."""
    waiting: dict[Path, Path] = {}
    try:
        for path, data in contents.items():
            if path.is_dir():
                raise IsADirectoryError(errno.EISDIR, "is a folder", str(path))
            with tempfile.NamedTemporaryFile(dir=path.parent, prefix=".", suffix=".partial", delete=False) as file:
                waiting[path] = Path(file.name)
                file.write(data)
            waiting[path].chmod(0o644)
        for path in contents:
            waiting[path].replace(path)
    finally:
        for left in waiting.values():
            left.unlink(missing_ok=True)


def printable(text: str) -> str:
    r"""Return a name with, say, `\udce9` for each byte of it that is no UTF-8, which files and arrays cannot hold."""
    return text.encode("utf-8", "backslashreplace").decode()


def read_npz(path: Path) -> dict[str, np.ndarray[Any, Any]]:
    """Return the arrays of a .npz file; raise `ValueError` with the reason where it cannot be read."""
    try:
        with zipfile.ZipFile(path):  # NumPy would take anything that is no archive for a pickle, and say so
            pass
        with np.load(path, allow_pickle=False) as file:
            return dict(file)
    except (OSError, ValueError, EOFError, zipfile.BadZipFile, zlib.error) as problem:
        raise ValueError(getattr(problem, "strerror", None) or str(problem)) from problem
