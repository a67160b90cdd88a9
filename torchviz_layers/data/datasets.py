"""`load_dataset`: a dataset by name, a folder of pictures or an `.npz` file becomes `Samples`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from torchviz_layers.data.named import NAMED, load_digits, load_named
from torchviz_layers.data.npz import load_npz
from torchviz_layers.data.picture_folders import load_folder
from torchviz_layers.data.samples import Samples
from torchviz_layers.exceptions import DataError

DATASETS = (*NAMED, "digits")


def load_dataset(
    name: str | Path,
    *,
    split: str | None = None,
    limit: int | None = None,
    size: int | None = None,
    download: bool = False,
) -> Samples:
    """Read a dataset by name, a folder of class folders, or an `.npz` file.

    Parameters
    ----------
    name : str or Path
        A name: `mnist`, `fashion-mnist`, `cifar10` or `digits` (scikit-learn's 1,797 handwritten digits, drawn at 18 px
        in the middle of 28 x 28).

        A folder whose sub-folders are the classes. Hidden folders and those of operating systems (`.ipynb_checkpoints`,
        `__MACOSX`) are ignored, links are followed, and pictures are rotated as their EXIF data say; `Samples.notice`
        lists what was left out.

        An `.npz` with `images` and, where known, `targets`, `class_names` and `ids`, or with Keras's `x_test` and
        `y_test`. `images` have 1, 3 or 4 channels on the second or last axis; where the shape does not show which, that
        is an error.
    split : {"test", "train"}, optional
        Part of a dataset that has parts; "test" by default.
    limit : int, optional
        Read the first `limit` samples of a dataset; of a folder, as many of each class as fit in `limit`.
    size : int, optional
        Resize the shorter side of a folder's images to `size` pixels and crop the middle.
    download : bool
        Let torchvision download a named dataset into the user's cache if it is not on disk.

    Returns
    -------
    Samples
        Images of shape (n_samples, channels, height, width), float32 in [0, 1].

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
    if text in NAMED:
        samples = load_named(text, split or "test", download)
    elif text == "digits":
        samples = load_digits(split)
    elif text and path.is_dir():  # Path("") is the current folder, which an empty name does not mean
        return load_folder(path, split, limit, size)
    elif path.suffix == ".npz":
        samples = load_npz(path, split or "test")
    else:
        raise DataError(f"{text!r} is no dataset ({', '.join(DATASETS)}), no folder and no .npz file")
    return samples if limit is None else samples[:limit]


def parse_data_spec(spec: str, **options: Any) -> Samples:
    """Read `NAME`, `NAME:SPLIT` or a path, as the command line writes them."""
    name, colon, split = spec.rpartition(":")
    if colon and (name in DATASETS or not Path(spec).exists()):
        return load_dataset(name, split=split, **options)
    return load_dataset(spec, **options)
