"""`load_dataset`: a dataset by name, a folder of pictures or a file becomes `Samples`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from torchviz_layers.data.data_files import load_json_lines, load_npy, load_table, load_texts
from torchviz_layers.data.named import NAMED, load_digits, load_named
from torchviz_layers.data.npz import load_npz
from torchviz_layers.data.picture_folders import load_folder
from torchviz_layers.data.samples import Samples
from torchviz_layers.data.table_files import TABLE_SUFFIXES
from torchviz_layers.exceptions import DataError

DATASETS = (*NAMED, "digits")
SUFFIXES = (".npz", ".npy", *TABLE_SUFFIXES, ".jsonl", ".txt")
ACCEPTED = (
    f"a name ({', '.join(DATASETS)}; mnist:train), a folder of pictures or of class folders, or a file "
    f"({', '.join(SUFFIXES)})"
)


def load_dataset(
    name: str | Path,
    *,
    split: str | None = None,
    targets: str | list[str] | None = None,
    columns: list[str] | None = None,
    limit: int | None = None,
    size: int | None = None,
    download: bool = False,
) -> Samples:
    """Read a dataset by name, a folder of pictures, or a file.

    Parameters
    ----------
    name : str or Path
        A name: `mnist`, `fashion-mnist`, `cifar10` or `digits` (scikit-learn's 1,797 handwritten digits, drawn at 18 px
        in the middle of 28 x 28).

        A folder whose sub-folders are the classes, or of pictures without classes. Hidden folders and those of
        operating systems (`.ipynb_checkpoints`, `__MACOSX`) are ignored, links are followed, and pictures are rotated
        as their EXIF data say; `Samples.notice` lists what was left out.

        An `.npz` with `images` and, where known, `targets`, `class_names` and `ids`, or with Keras's `x_test` and
        `y_test`. `images` have 1, 3 or 4 channels on the second or last axis; where the shape does not show which, that
        is an error. Other samples than pictures are called `X` and `y`. An `.npy` with samples.

        A table, `.csv`, `.tsv`, `.parquet` or `.feather`: its columns of numbers are the input, the others are shown.

        Texts, `.txt`, one a line; or a JSON object a line, `.jsonl`.
    split : {"test", "train"}, optional
        Part of a dataset that has parts; "test" by default.
    targets : str or list of str, optional
        Where the targets are: the column of a table, the array of an `.npz`, the key of JSON objects, the other file of
        an `.npy`. Several columns of 0 and 1 of a table are several labels a sample.
    columns : list of str, optional
        Columns of numbers of a table that are shown and not fed.
    limit : int, optional
        Read the first `limit` samples of a dataset; of a folder, as many of each class as fit in `limit`.
    size : int, optional
        Resize the shorter side of a folder's images to `size` pixels and crop the middle.
    download : bool
        Let torchvision download a named dataset into the user's cache if it is not on disk.

    Returns
    -------
    Samples
        Pictures are fed as float32 of shape (channels, height, width) in [0, 1].

    Raises
    ------
    DataError
        If there is no such dataset, split or file, or its content cannot be used.

    Examples
    --------
    >>> samples = load_dataset("digits", limit=100)
    >>> samples.shown.images.shape
    (100, 1, 28, 28)
    """
    if limit is not None and limit < 1:
        raise DataError(f"limit: a positive number expected, got {limit}")
    text = str(name)
    path = Path(text).expanduser()
    if path.suffix.lower() not in TABLE_SUFFIXES and (columns is not None or isinstance(targets, list)):
        given = f"columns={columns!r}" if columns is not None else f"targets={targets!r}"
        raise DataError(f"{given}: {text} has no columns; they are those of a table ({', '.join(TABLE_SUFFIXES)})")
    if text in DATASETS or (text and path.is_dir()):  # Path("") is the current folder, which "" does not mean
        if targets is not None:
            raise DataError(f"targets={targets!r}: {text} has its labels; targets= are those of a file")
        if text not in DATASETS:
            return load_folder(path, split, limit, size)
        samples = load_digits(split) if text == "digits" else load_named(text, split or "test", download)
    else:
        samples = _load_file(text, split, targets, columns)
    return samples if limit is None else samples[:limit]


def _load_file(text: str, split: str | None, targets: Any, columns: list[str] | None) -> Samples:
    path = Path(text).expanduser()
    suffix = path.suffix.lower()
    if suffix == ".npz":
        return load_npz(path, split or "test", targets)
    if suffix not in SUFFIXES:
        raise DataError(f"{text!r} is no dataset: expected {ACCEPTED}")
    if split is not None:
        raise DataError(f"{path} has no split {split!r}: a file {suffix} is one set of samples")
    if suffix == ".npy":
        return load_npy(path, targets)
    if suffix == ".jsonl":
        return load_json_lines(path, targets)
    if suffix in TABLE_SUFFIXES:
        return load_table(path, targets, columns)
    if targets is not None:
        raise DataError(f"targets={targets!r}: {path.name} has texts alone; give a .jsonl file with both")
    return load_texts(path)
