"""Reading and writing the user's files: never half of one, and never code from one."""

from __future__ import annotations

import errno
import tempfile
import zipfile
import zlib
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path

import numpy as np

from torchviz_layers._common.arrays import Array


def check_folder_writable(folder: Path) -> None:
    """Make a folder if there is none, and raise `OSError` if no file can be written to it.

    Call it before a long computation whose result goes there.
    """
    folder.mkdir(parents=True, exist_ok=True)
    # Permission bits do not show a full disk or a read-only mount; a file does.
    with tempfile.TemporaryFile(dir=folder):
        pass


@contextmanager
def atomic_write(path: Path) -> Iterator[Path]:
    """Yield a temporary path; what the block writes there, a file or a folder, becomes `path` when the block ends.

    Where the block fails or is interrupted, `path` is as it was before and nothing is left beside it.

    Raises
    ------
    OSError
        If `path` is a folder already, or nothing can be written beside it.
    """
    if path.is_dir():
        raise IsADirectoryError(errno.EISDIR, "is a folder", str(path))
    # A rename is atomic only within a file system, hence a temporary folder beside the target. Inside it the file has
    # its final name: some writers (np.savez) add a suffix to a name that lacks theirs. The prefix is cut because a file
    # name has at most 255 bytes.
    prefix = f".{path.name[:40]}."
    with tempfile.TemporaryDirectory(dir=path.parent, prefix=prefix, suffix=".partial") as folder:
        temporary = Path(folder, path.name)
        yield temporary
        temporary.replace(path)


def write_files(contents: Mapping[Path, bytes]) -> None:
    """Write several files, all or none; raise `OSError` where one fails."""
    # No file is renamed before all are written: the contexts close after the loop.
    with ExitStack() as stack:
        for path, data in contents.items():
            stack.enter_context(atomic_write(path)).write_bytes(data)


def printable(text: str) -> str:
    r"""Replace the bytes of a file name that are not UTF-8 by, say, `\udce9`, so that the name can be stored."""
    # Python reads such a byte as a lone surrogate (PEP 383), which neither files nor NumPy's text arrays take.
    return text.encode("utf-8", "backslashreplace").decode()


def read_npz(path: Path) -> dict[str, Array]:
    """Return the arrays of a .npz file; raise `ValueError` with the reason where it cannot be read."""
    try:
        # NumPy takes a file that is not a ZIP archive for a pickle, and its message recommends `allow_pickle`.
        with zipfile.ZipFile(path):
            pass
        with np.load(path, allow_pickle=False) as file:
            return dict(file)
    except (OSError, ValueError, EOFError, zipfile.BadZipFile, zlib.error) as problem:
        raise ValueError(getattr(problem, "strerror", None) or str(problem)) from problem
