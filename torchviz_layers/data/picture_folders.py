"""Folders of class folders: which of them are classes, which files are pictures, and what is left out."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from pathlib import Path

from torchviz_layers._common.files import printable

IMAGE_SUFFIXES = {
    ".apng", ".avif", ".bmp", ".dib", ".gif", ".jfif", ".jp2", ".jpe", ".jpeg", ".jpg", ".pbm", ".pgm", ".png", ".pnm",
    ".ppm", ".tga", ".tif", ".tiff", ".webp",
}  # fmt: skip
# Folders that systems and archives make among a user's; hidden ones (.ipynb_checkpoints) begin with a dot.
_NOT_THE_USERS = {"__macosx", "__pycache__", "@eadir", "$recycle.bin", "system volume information", "lost+found"}
_FILES_OF_SYSTEMS = {"thumbs.db", "desktop.ini"}
_SPLITS = {"train", "training", "val", "valid", "validation", "test", "testing"}
_SHOWN = 3


def class_folders(root: Path) -> list[str]:
    """Return the names of the folders that are classes, sorted; none where `root` is no folder."""
    if not root.is_dir():
        return []
    return sorted(path.name for path in root.iterdir() if path.is_dir() and not _is_left_out(path.name))


def splits_in(root: Path, classes: Sequence[str]) -> list[str]:
    """Return those "classes" that are splits with class folders of their own; none unless all are."""
    are_splits = all(name.casefold() in _SPLITS and class_folders(root / name) for name in classes)
    return list(classes) if are_splits else []


def pictures_in(folder: Path) -> list[Path]:
    """Return the pictures of a class, sorted, those in its sub-folders too; hidden ones are left out."""
    found = (path for path in _files_below(folder) if _is_picture(path))
    return sorted(path for path in found if not _is_hidden(path, folder))


def remarks_on(root: Path, classes: Sequence[str], pictures: Sequence[Sequence[Path]]) -> list[str]:
    """Return what a reader must know of the folders at `root`: what is left out, and what may not be meant.

    `pictures` are those of each class, as `pictures_in` gives them.
    """
    files = list(_files_below(root))
    remarks = [
        _on_hidden(root, files),
        _on_links(root, files),
        _on_kinds(root, classes, files),
        _on_empty_classes(classes, pictures),
        _on_one_class(root, classes, pictures),
    ]
    return [remark for remark in remarks if remark]


def _files_below(folder: Path) -> Iterator[Path]:
    """Yield all files below a folder. Links to folders are followed, each folder once and none that `folder` is in."""
    top = folder.resolve()
    seen: set[Path] = set()
    for place, folders, files in os.walk(folder, followlinks=True):
        real = Path(place).resolve()
        if real in seen or (real != top and top.is_relative_to(real)):
            folders.clear()
            continue
        seen.add(real)
        folders.sort()
        yield from (Path(place, name) for name in sorted(files))


def _on_hidden(root: Path, files: Sequence[Path]) -> str:
    below = [path.relative_to(root) for path in files if _is_picture(path)]
    hidden = [path for path in below if len(path.parts) > 1 and any(map(_is_left_out, path.parts))]
    if not hidden:
        return ""
    names = [next(filter(_is_left_out, path.parts)) for path in hidden]
    return f"{_count(hidden, 'picture')} left out: hidden files or folders of the system ({_shown(names)})"


def _on_links(root: Path, files: Sequence[Path]) -> str:
    broken = [path for path in files if path.is_symlink() and not path.exists() and not _is_hidden(path, root)]
    if not broken:
        return ""
    return f"{_count(broken, 'link')} left out: the target is not there ({_shown(path.name for path in broken)})"


def _on_kinds(root: Path, classes: Sequence[str], files: Sequence[Path]) -> str:
    unread = [
        path
        for path in files
        if path.relative_to(root).parts[0] in classes
        and not _is_hidden(path, root)
        and path.name.casefold() not in _FILES_OF_SYSTEMS
        and path.suffix.lower() not in IMAGE_SUFFIXES
        and path.is_file()
    ]
    if not unread:
        return ""
    kinds = (path.suffix.lower() or path.name for path in unread)
    return f"{_count(unread, 'file')} left out: of a kind that is not read as a picture ({_shown(kinds)})"


def _on_empty_classes(classes: Sequence[str], pictures: Sequence[Sequence[Path]]) -> str:
    empty = [name for name, found in zip(classes, pictures, strict=True) if not found]
    if not empty or len(empty) == len(classes):
        return ""
    return f"{_count(empty, 'class folder')} without a picture ({_shown(empty)}): the numbers of the classes count them"


def _on_one_class(root: Path, classes: Sequence[str], pictures: Sequence[Sequence[Path]]) -> str:
    """Return a remark where the classes seem to lie one folder deeper, as archives often unpack."""
    if len(classes) != 1 or not pictures[0]:
        return ""
    folder = root / classes[0]
    below = {path.relative_to(folder).parts for path in pictures[0]}
    names = {parts[0] for parts in below if len(parts) > 1}
    if len(names) < 2 or any(len(parts) == 1 for parts in below):
        return ""
    return (
        f"all pictures are of one class, {printable(classes[0])}; if its folders ({_shown(names)}) are the classes, "
        f"give {printable(str(folder))}"
    )


def _count(things: Sequence[object], noun: str) -> str:
    return f"1 {noun}" if len(things) == 1 else f"{len(things):,} {noun}s"


def _shown(names: Iterator[str] | Sequence[str] | set[str]) -> str:
    different = sorted(set(names))
    return ", ".join(map(printable, different[:_SHOWN])) + (", ..." if len(different) > _SHOWN else "")


def _is_hidden(path: Path, folder: Path) -> bool:
    return any(map(_is_left_out, path.relative_to(folder).parts))


def _is_left_out(name: str) -> bool:
    return name.startswith(".") or name.casefold() in _NOT_THE_USERS


def _is_picture(path: Path) -> bool:
    return path.suffix.lower() in IMAGE_SUFFIXES and path.is_file()
