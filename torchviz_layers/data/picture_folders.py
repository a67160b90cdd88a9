"""Folders of pictures or of class folders: which are classes, which files are pictures, and what is left out."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

import numpy as np

from torchviz_layers._common.arrays import Array
from torchviz_layers._common.files import printable
from torchviz_layers.data.pictures import pictures_in_memory, read_pictures
from torchviz_layers.data.samples import Samples
from torchviz_layers.exceptions import DataError

IMAGE_SUFFIXES = {
    ".apng", ".avif", ".bmp", ".dib", ".gif", ".jfif", ".jp2", ".jpe", ".jpeg", ".jpg", ".pbm", ".pgm", ".png", ".pnm",
    ".ppm", ".tga", ".tif", ".tiff", ".webp",
}  # fmt: skip
# Folders that operating systems, archives and Python make; hidden ones (.ipynb_checkpoints) begin with a dot.
_SYSTEM_FOLDERS = {"__macosx", "__pycache__", "@eadir", "$recycle.bin", "system volume information", "lost+found"}
_SYSTEM_FILES = {"thumbs.db", "desktop.ini"}
_SPLITS = {"train", "training", "val", "valid", "validation", "test", "testing"}
_SHOWN = 3  # names in a remark


def load_folder(root: Path, split: str | None, limit: int | None, size: int | None) -> Samples:
    """Read the pictures of `root/CLASS/...`, of `root/SPLIT/CLASS/...` or of `root`, as `load_dataset` describes."""
    if split:
        root = root / split
    classes = class_folders(root)
    if splits := splits_in(root, classes):
        raise DataError(
            f"{root} holds the splits {', '.join(splits)}, not classes: take one of them, {root / splits[0]} say "
            f"(--data {root}:{splits[0]})"
        )
    pictures = [pictures_in(root / name) for name in classes]
    remarks = remarks_on(root, classes, pictures)
    files, targets = _of_each_class(pictures, limit)
    if not files:  # pictures without classes
        files, targets, classes = pictures_in(root)[:limit], None, []
    if not files:
        expected = "no images in class folders found (root/class name/picture.png), and none in the folder itself"
        raise DataError("; ".join([f"{root}: {expected}", *remarks]))
    images, more_remarks = read_pictures(files, size)
    return pictures_in_memory(
        images,
        targets,
        tuple(map(printable, classes)),
        np.array([printable(path.relative_to(root).as_posix()) for path in files]),
        name=printable(root.name),
        notice="; ".join(remarks + more_remarks),
    )


def _of_each_class(pictures: Sequence[Sequence[Path]], limit: int | None) -> tuple[list[Path], Array | None]:
    """Return the files of all classes and the class of each; as many of each class, so that a limit shows them all."""
    per_class = None
    if limit is not None and pictures:
        per_class = max(1, limit // len(pictures))
    files: list[Path] = []
    targets: list[int] = []
    for index, found in enumerate(pictures):
        files += found[:per_class]
        targets += [index] * len(found[:per_class])
    return files, np.array(targets, np.int64)


def class_folders(root: Path) -> list[str]:
    """Return the names of the folders that are classes, sorted; none where `root` is no folder."""
    if not root.is_dir():
        return []
    return sorted(path.name for path in root.iterdir() if path.is_dir() and not _is_left_out(path.name))


def splits_in(root: Path, classes: Sequence[str]) -> list[str]:
    """Return the class folders if all of them are splits that have class folders themselves; else none."""
    for name in classes:
        if name.casefold() not in _SPLITS or not class_folders(root / name):
            return []
    return list(classes)


def pictures_in(folder: Path) -> list[Path]:
    """Return the pictures of a class and its sub-folders, sorted, without hidden ones."""
    return sorted(path for path in _files_below(folder) if _is_picture(path) and not _is_hidden(path, folder))


def remarks_on(root: Path, classes: Sequence[str], pictures: Sequence[Sequence[Path]]) -> list[str]:
    """Return sentences on what is left out of the folders at `root`, and on what looks like a mistake.

    `pictures` are those of each class, as `pictures_in` returns them.
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
    """Yield all files below a folder, those in linked folders too.

    A link may point back: to a folder that was visited, or to one that contains `folder`. Neither is followed, so that
    the walk ends and no file is found twice.
    """
    top = folder.resolve()
    visited: set[Path] = set()
    for current, folders, files in os.walk(folder, followlinks=True):
        real = Path(current).resolve()
        contains_top = real != top and top.is_relative_to(real)
        if real in visited or contains_top:
            folders.clear()  # os.walk goes into the folders that are left in this list
            continue
        visited.add(real)
        folders.sort()
        for name in sorted(files):
            yield Path(current, name)


def _on_hidden(root: Path, files: Sequence[Path]) -> str:
    names = []  # of the outermost hidden folder or file, one a picture
    for path in filter(_is_picture, files):
        parts = path.relative_to(root).parts
        hidden = [part for part in parts if _is_left_out(part)]
        if hidden and len(parts) > 1:  # a picture beside the class folders never was a sample
            names.append(hidden[0])
    if not names:
        return ""
    return f"{_count(names, 'picture')} left out: hidden files or folders of the system ({_shown(names)})"


def _on_links(root: Path, files: Sequence[Path]) -> str:
    broken = []
    for path in files:
        has_target = path.exists()  # `exists` follows a link
        if path.is_symlink() and not has_target and not _is_hidden(path, root):
            broken.append(path.name)
    if not broken:
        return ""
    return f"{_count(broken, 'link')} left out: the target is not there ({_shown(broken)})"


def _on_kinds(root: Path, classes: Sequence[str], files: Sequence[Path]) -> str:
    kinds = []  # the suffix of each file that is not read
    for path in files:
        in_class = not classes or path.relative_to(root).parts[0] in classes
        known = path.suffix.lower() in IMAGE_SUFFIXES or path.name.casefold() in _SYSTEM_FILES
        if in_class and not known and not _is_hidden(path, root) and path.is_file():
            kinds.append(path.suffix.lower() or path.name)
    if not kinds:
        return ""
    return f"{_count(kinds, 'file')} left out: of a kind that is not read as a picture ({_shown(kinds)})"


def _on_empty_classes(classes: Sequence[str], pictures: Sequence[Sequence[Path]]) -> str:
    empty = [name for name, found in zip(classes, pictures, strict=True) if not found]
    if not empty or len(empty) == len(classes):  # if all are empty, there is an error instead
        return ""
    return f"{_count(empty, 'class folder')} without a picture ({_shown(empty)}): the numbers of the classes count them"


def _on_one_class(root: Path, classes: Sequence[str], pictures: Sequence[Sequence[Path]]) -> str:
    """Return a remark if the classes seem to be one folder deeper, as archives often unpack."""
    if len(classes) != 1 or not pictures[0]:
        return ""
    folder = root / classes[0]
    parents = {path.relative_to(folder).parts[:-1] for path in pictures[0]}
    if () in parents:  # a picture is directly in the class folder
        return ""
    names = {parts[0] for parts in parents}
    if len(names) < 2:
        return ""
    return (
        f"all pictures are of one class, {printable(classes[0])}; if its folders ({_shown(names)}) are the classes, "
        f"give {printable(str(folder))}"
    )


def _count(things: Sequence[object], noun: str) -> str:
    plural = "" if len(things) == 1 else "s"
    return f"{len(things):,} {noun}{plural}"


def _shown(names: Iterable[str]) -> str:
    """Return the first different names as text."""
    different = sorted(set(names))
    shown = ", ".join(map(printable, different[:_SHOWN]))
    return f"{shown}, ..." if len(different) > _SHOWN else shown


def _is_hidden(path: Path, folder: Path) -> bool:
    return any(map(_is_left_out, path.relative_to(folder).parts))


def _is_left_out(name: str) -> bool:
    return name.startswith(".") or name.casefold() in _SYSTEM_FOLDERS


def _is_picture(path: Path) -> bool:
    return path.suffix.lower() in IMAGE_SUFFIXES and path.is_file()
