"""Named datasets, image folders and arrays, all read into one record: `Samples`.

Datasets are looked for in the folder that the environment variable `TORCHVIZ_LAYERS_DATA` names and then in the user's
cache (`$XDG_CACHE_HOME/torchviz_layers`). Nothing is downloaded unless the caller asks for it.
"""

from __future__ import annotations

import gzip
import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from torchviz_layers._common.files import printable, read_npz
from torchviz_layers.data.picture_folders import class_folders, pictures_in, remarks_on, splits_in
from torchviz_layers.data.pictures import channels_first, read_pictures
from torchviz_layers.exceptions import DataError, MissingDatasetError

if TYPE_CHECKING:
    import numpy.typing as npt

Batch = tuple[torch.Tensor, torch.Tensor | None, np.ndarray]
Transform = Callable[[torch.Tensor], torch.Tensor]


@dataclass(frozen=True, eq=False, repr=False)
class Samples:
    """Images and what is known of them.

    Attributes
    ----------
    images : ndarray of shape (n_samples, channels, height, width)
        float32 in [0, 1].
    targets : ndarray of shape (n_samples,) or None
        int64 indices into `class_names`.
    class_names : tuple of str
        By default the numbers up to the largest target.
    ids : ndarray of shape (n_samples,)
        What names a sample (a file name, say); by default its position.
    name : str
        What the whole is called, for titles.
    notice : str
        A sentence that a reader of results must see; empty in most cases.
    dataset : str
        Which of the datasets known by name they are; empty for all others.

    Raises
    ------
    DataError
        If the arrays disagree in length, the images are not in [0, 1], or a target is no number of a class.

    Examples
    --------
    >>> samples = Samples(np.zeros((3, 1, 8, 8), np.float32), np.array([0, 1, 1]), ("cat", "dog"))
    >>> samples, samples[:2]
    (<samples: 3 images of 1 x 8 x 8, 2 classes>, <samples: 2 images of 1 x 8 x 8, 2 classes>)
    """

    images: np.ndarray
    targets: np.ndarray | None = None
    class_names: tuple[str, ...] = ()
    ids: np.ndarray = field(default_factory=lambda: np.empty(0, np.int64))
    name: str = "samples"
    notice: str = ""
    dataset: str = ""

    def __post_init__(self) -> None:
        """Hold the parts to one another; fill in what was left out."""
        _check_images(self.images)
        n = len(self.images)
        object.__setattr__(self, "ids", np.asarray(self.ids) if len(self.ids) else np.arange(n))
        if self.targets is not None:
            object.__setattr__(self, "targets", _as_classes(self.targets, self.name))
        named = self.class_names if len(self.class_names) or self.targets is None else range(self.targets.max() + 1)
        object.__setattr__(self, "class_names", tuple(map(str, named)))
        for what in ("targets", "ids"):
            value = getattr(self, what)
            if value is not None and value.shape != (n,):
                raise DataError(f"{self.name}: {n} images, but {what} of shape {value.shape}")
        if self.targets is not None and not 0 <= self.targets.min() <= self.targets.max() < len(self.class_names):
            low, high = self.targets.min(), self.targets.max()
            raise DataError(f"{self.name}: targets from {low} to {high}, but {len(self.class_names)} class names")

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, rows: slice | np.ndarray) -> Samples:
        """Return the samples at `rows`, with the ids they had."""
        if not isinstance(rows, slice) and np.ndim(rows) == 0:
            raise DataError(f"samples[{rows!r}]: give a slice or an array of rows, as in samples[:100]")
        targets = None if self.targets is None else self.targets[rows]
        return replace(self, images=self.images[rows], targets=targets, ids=self.ids[rows])

    def __repr__(self) -> str:
        classes = "no targets" if self.targets is None else f"{len(self.class_names):,} classes"
        size = " x ".join(map(str, self.images.shape[1:]))
        return f"<{self.name}: {len(self):,} images of {size}, {classes}>"

    def batches(self, batch_size: int = 256, transform: Transform | None = None) -> Iterator[Batch]:
        """Yield `(inputs, targets, ids)` in order, `transform` applied to each batch of images.

        Inputs are tensors of shape (batch, channels, height, width) before `transform`; targets are None where unknown.
        A `transform` that fails is a `DataError`.
        """
        if batch_size < 1:
            raise DataError(f"batch_size={batch_size}: it must be at least 1")
        for start in range(0, len(self), batch_size):
            rows = slice(start, start + batch_size)
            inputs = torch.from_numpy(np.ascontiguousarray(self.images[rows]))
            targets = None if self.targets is None else torch.from_numpy(self.targets[rows])
            yield _transformed(inputs, transform), targets, self.ids[rows]


def _transformed(images: torch.Tensor, transform: Transform | None) -> torch.Tensor:
    try:
        return images if transform is None else transform(images)
    except Exception as problem:  # a function of the caller's own
        reason = str(problem).partition("\n")[0] or type(problem).__name__
        raise DataError(f"the transform fails on images of shape {tuple(images.shape)}: {reason}") from problem


def _as_classes(targets: npt.ArrayLike, name: str) -> np.ndarray:
    """Return targets as int64; refuse what would have to be rounded."""
    given = np.asarray(targets)
    if given.dtype.kind not in "biuf" or (given % 1 != 0).any():
        raise DataError(f"{name}: targets are whole numbers, one a sample, from 0; got {given.dtype} {given.shape}")
    return given.astype(np.int64)


def _check_images(images: np.ndarray) -> None:
    if images.ndim != 4 or images.dtype != np.float32:
        raise DataError(
            f"images: float32 of shape (n_samples, channels, height, width) expected, got {images.dtype} {images.shape}"
        )
    if not len(images):
        raise DataError("images: there are none")
    low, high = float(images.min()), float(images.max())
    if not 0 <= low <= high <= 1:  # false for NaN too
        raise DataError(
            f"images: values in [0, 1] expected, got {low:g} to {high:g}; divide 8-bit images by 255, "
            "16-bit ones by 65535"
        )


@dataclass(frozen=True)
class _Named:
    """A dataset known by name: its folder here, its class in torchvision, the names of its classes."""

    folder: str
    torchvision: str
    class_names: tuple[str, ...]


_FASHION = ("T-shirt", "Trouser", "Pullover", "Dress", "Coat", "Sandal", "Shirt", "Sneaker", "Bag", "Ankle boot")
_CIFAR = ("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck")
_NAMED = {
    "mnist": _Named("mnist", "MNIST", tuple("0123456789")),
    "fashion-mnist": _Named("fashion-mnist", "FashionMNIST", _FASHION),
    "cifar10": _Named("cifar10", "CIFAR10", _CIFAR),
}
DATASETS = (*_NAMED, "digits")
_BITS = "the images are of 8 bits and none is above 1, taken as 1/255; if 1 is white, save them as bool or float"


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
        One of `mnist`, `fashion-mnist`, `cifar10`, `digits` (scikit-learn's 1,797 handwritten digits, drawn at 18 px in
        the middle of 28 x 28), a folder whose sub-folders are the classes (hidden ones and those that systems make,
        `.ipynb_checkpoints` and `__MACOSX` say, are none; links are followed; pictures are turned as their EXIF data
        say; `Samples.notice` says what was left out), or an `.npz`
        with `images` and, where known, `targets`, `class_names` and `ids` (Keras's `x_test`, `y_test` are understood
        too). `images` have 1, 3 or 4 channels, first or last; other shapes must say which axis that is.
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
        If there is no such dataset, split or file, or what was found cannot be used.

    Examples
    --------
    >>> samples = load_dataset("digits", limit=100)
    >>> samples.images.shape
    (100, 1, 28, 28)
    """
    if limit is not None and limit < 1:
        raise DataError(f"limit: a positive number expected, got {limit}")
    text = str(name)
    if text in _NAMED:
        samples = _load_named(text, split or "test", download)
    elif text == "digits":
        samples = _load_digits(split)
    elif text and (path := Path(name).expanduser()).is_dir():
        return _load_folder(path, split, limit, size)
    elif text and path.suffix == ".npz":
        samples = _load_npz(path, split or "test")
    else:
        raise DataError(f"{text!r} is no dataset ({', '.join(DATASETS)}), no folder and no .npz file")
    return samples if limit is None else samples[:limit]


def cache_dir() -> Path:
    """Return the folder that downloads go to."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "torchviz_layers"


def _load_named(name: str, split: str, download: bool) -> Samples:
    if split not in ("test", "train"):
        raise DataError(f"{name} has no split {split!r}; it has 'test' and 'train'")
    known = _NAMED[name]
    roots = [cache_dir() / known.folder]
    if configured := os.environ.get("TORCHVIZ_LAYERS_DATA"):
        roots.insert(0, Path(configured).expanduser() / known.folder)
    read = _read_cifar10 if name == "cifar10" else _read_idx_pair
    found = next((pair for root in roots if (pair := read(root, split))), None)
    if found is None and download:
        _download(known, split, roots[-1])
        found = read(roots[-1], split)
    if found is None:
        raise MissingDatasetError(
            f"{name} is not on this disk (looked in {' and '.join(map(str, roots))}); --download, or "
            f"load_dataset({name!r}, download=True), fetches it; TORCHVIZ_LAYERS_DATA names a folder that has it"
        )
    images, targets = found
    return Samples(images, targets, known.class_names, name=f"{name} {split}", dataset=name)


def _download(known: _Named, split: str, root: Path) -> None:
    import torchvision

    try:
        getattr(torchvision.datasets, known.torchvision)(root, train=split == "train", download=True)
    except (OSError, RuntimeError) as problem:
        raise DataError(f"{known.folder}: the download failed: {problem}") from problem


def _read_idx_pair(root: Path, split: str) -> tuple[np.ndarray, np.ndarray] | None:
    """Read images and labels in MNIST's form from `root` or from where torchvision puts them below it."""
    prefix = "t10k" if split == "test" else "train"
    for folder in (root, root / "MNIST" / "raw", root / "FashionMNIST" / "raw"):
        pair = [
            next((p for ending in (".gz", "") if (p := folder / f"{prefix}-{part}-ubyte{ending}").is_file()), None)
            for part in ("images-idx3", "labels-idx1")
        ]
        if pair[0] and pair[1]:
            images, targets = _read_idx(pair[0]), _read_idx(pair[1])
            return images[:, None].astype(np.float32) / 255, targets.astype(np.int64)
    return None


def _read_idx(path: Path) -> np.ndarray:
    """Read an IDX file of bytes, gzipped or not (format: Yann LeCun's MNIST page)."""
    try:
        raw = gzip.decompress(path.read_bytes()) if path.suffix == ".gz" else path.read_bytes()
        if raw[:3] != b"\0\0\x08":
            raise ValueError("it is no IDX file of bytes")
        shape = np.frombuffer(raw, ">u4", count=raw[3], offset=4)
        return np.frombuffer(raw, np.uint8, offset=4 + 4 * raw[3]).reshape(shape)
    except (OSError, EOFError, ValueError, IndexError) as problem:
        raise DataError(f"{path} cannot be read: {problem}") from problem


def _read_cifar10(root: Path, split: str) -> tuple[np.ndarray, np.ndarray] | None:
    import torchvision

    try:  # torchvision holds the files to their MD5 before it unpickles them
        data = torchvision.datasets.CIFAR10(root, train=split == "train")
    except RuntimeError:
        return None
    return channels_first(data.data), np.asarray(data.targets, np.int64)


def _load_digits(split: str | None) -> Samples:
    from PIL import Image
    from sklearn.datasets import load_digits

    if split not in (None, "test", "all"):
        raise DataError(f"digits has no split {split!r}: it is one set of 1,797 samples")
    data = load_digits()
    images = np.zeros((len(data.images), 1, 28, 28), np.float32)
    for image, small in zip(images, data.images, strict=True):
        drawn = Image.fromarray(small.astype(np.float32) / 16).resize((18, 18), Image.Resampling.BILINEAR)
        image[0, 5:23, 5:23] = np.clip(np.asarray(drawn), 0, 1)
    notice = "scikit-learn's digits: 8 x 8 px drawn at 18 px in the middle of 28 x 28"
    names = tuple("0123456789")
    return Samples(images, data.target.astype(np.int64), names, name="digits", notice=notice, dataset="digits")


def _load_npz(path: Path, split: str) -> Samples:
    try:
        arrays = read_npz(path)
    except ValueError as problem:
        raise DataError(f"{path} cannot be read: {problem}") from problem
    images = arrays.get("images", arrays.get(f"x_{split}"))
    if images is None:
        raise DataError(f"{path} holds {', '.join(arrays) or 'nothing'}; 'images' (or Keras's 'x_{split}') is missing")
    if images.ndim < 2 or images.dtype.kind not in "biuf":
        raise DataError(
            f"{path}: 'images' must be numbers (n_samples, height, width), got {images.dtype} {images.shape}"
        )
    targets = arrays.get("targets", arrays.get(f"y_{split}"))
    return Samples(
        channels_first(images),
        targets if targets is None or targets.shape[1:] != (1,) else targets[:, 0],  # Keras's y_test are a column
        tuple(np.atleast_1d(arrays.get("class_names", ()))),
        arrays.get("ids", np.arange(len(images))),
        name=path.stem,
        notice=_BITS if images.dtype == np.uint8 and images.size and images.max() == 1 else "",
    )


def _load_folder(root: Path, split: str | None, limit: int | None, size: int | None) -> Samples:
    root = root / split if split else root
    classes = class_folders(root)
    if splits := splits_in(root, classes):
        raise DataError(
            f"{root} holds the splits {', '.join(splits)}, not classes: take one of them, {root / splits[0]} say "
            f"(--data {root}:{splits[0]})"
        )
    per_class = None if limit is None or not classes else max(1, limit // len(classes))
    pictures = [pictures_in(root / name) for name in classes]
    remarks = remarks_on(root, classes, pictures)
    files, targets = [], []
    for index, found in enumerate(pictures):
        files += found[:per_class]
        targets += [index] * len(found[:per_class])
    if not files:
        expected = "no images in class folders found (root/class name/picture.png)"
        raise DataError("; ".join([f"{root}: {expected}", *remarks]))
    images, more_remarks = read_pictures(files, size)
    ids = np.array([printable(path.relative_to(root).as_posix()) for path in files])
    return Samples(
        images,
        np.array(targets, np.int64),
        tuple(map(printable, classes)),
        ids,
        name=printable(root.name),
        notice="; ".join(remarks + more_remarks),
    )


def parse_data_spec(spec: str, **options: Any) -> Samples:
    """Read `NAME`, `NAME:SPLIT` or a path, as the command line writes them."""
    name, colon, split = spec.rpartition(":")
    if colon and (name in DATASETS or not Path(spec).exists()):
        return load_dataset(name, split=split, **options)
    return load_dataset(spec, **options)
