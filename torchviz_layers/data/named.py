"""Datasets known by name: MNIST, Fashion-MNIST and CIFAR-10 on this disk, and scikit-learn's digits.

A dataset is searched for in the folder that the environment variable `TORCHVIZ_LAYERS_DATA` names and then in the
user's cache (`$XDG_CACHE_HOME/torchviz_layers`). Nothing is downloaded unless the caller asks for it.
"""

from __future__ import annotations

import gzip
import os
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from torchviz_layers.data.pictures import channels_first, pictures_in_memory
from torchviz_layers.data.samples import Samples
from torchviz_layers.exceptions import DataError, MissingDatasetError

ImagesAndTargets = tuple[np.ndarray, np.ndarray]


@dataclass(frozen=True)
class _Named:
    """A dataset's folder, its class in torchvision, and the names of its classes."""

    folder: str
    torchvision: str
    class_names: tuple[str, ...]


_FASHION = ("T-shirt", "Trouser", "Pullover", "Dress", "Coat", "Sandal", "Shirt", "Sneaker", "Bag", "Ankle boot")
_CIFAR = ("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck")
_DIGITS = tuple("0123456789")
NAMED = {
    "mnist": _Named("mnist", "MNIST", _DIGITS),
    "fashion-mnist": _Named("fashion-mnist", "FashionMNIST", _FASHION),
    "cifar10": _Named("cifar10", "CIFAR10", _CIFAR),
}


def load_named(name: str, split: str, download: bool) -> Samples:
    """Read one of `NAMED`; raise `MissingDatasetError` with the folders searched where it is not on this disk."""
    if split not in ("test", "train"):
        raise DataError(f"{name} has no split {split!r}; it has 'test' and 'train'")
    known = NAMED[name]
    roots = _roots(known)
    found = _find(name, roots, split)
    if found is None and download:
        _download(known, split, roots[-1])
        found = _find(name, roots[-1:], split)
    if found is None:
        raise MissingDatasetError(
            f"{name} is not on this disk (searched {' and '.join(map(str, roots))}); --download, or "
            f"load_dataset({name!r}, download=True), fetches it; TORCHVIZ_LAYERS_DATA names a folder that has it"
        )
    images, targets = found
    return pictures_in_memory(images, targets, known.class_names, name=f"{name} {split}", dataset=name)


def load_digits(split: str | None) -> Samples:
    """Draw scikit-learn's digits (8 x 8 px) at 18 px in the middle of 28 x 28."""
    from PIL import Image
    from sklearn import datasets

    if split not in (None, "test", "all"):
        raise DataError(f"digits has no split {split!r}: it is one set of 1,797 samples")
    # About as large as MNIST's digits in their pictures, so that networks trained on MNIST can read them.
    data = datasets.load_digits()
    images = np.zeros((len(data.images), 1, 28, 28), np.float32)
    for image, small in zip(images, data.images, strict=True):
        scaled = small.astype(np.float32) / 16  # pixels are from 0 to 16
        drawn = Image.fromarray(scaled).resize((18, 18), Image.Resampling.BILINEAR)
        image[0, 5:23, 5:23] = np.clip(np.asarray(drawn), 0, 1)
    notice = "scikit-learn's digits: 8 x 8 px drawn at 18 px in the middle of 28 x 28"
    return pictures_in_memory(
        images, data.target.astype(np.int64), _DIGITS, name="digits", notice=notice, dataset="digits"
    )


def _roots(known: _Named) -> list[Path]:
    """Return the folders to search; the last is where downloads go."""
    roots = []
    if configured := os.environ.get("TORCHVIZ_LAYERS_DATA"):
        roots.append(Path(configured).expanduser())
    cache = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    roots.append(Path(cache) / "torchviz_layers")
    return [root / known.folder for root in roots]


def _find(name: str, roots: list[Path], split: str) -> ImagesAndTargets | None:
    read = _read_cifar10 if name == "cifar10" else _read_mnist
    for root in roots:
        found = read(root, split)
        if found is not None:
            return found
    return None


def _download(known: _Named, split: str, root: Path) -> None:
    import torchvision

    try:
        getattr(torchvision.datasets, known.torchvision)(root, train=split == "train", download=True)
    except (OSError, RuntimeError) as problem:
        raise DataError(f"{known.folder}: the download failed: {problem}") from problem


def _read_mnist(root: Path, split: str) -> ImagesAndTargets | None:
    """Read images and labels in MNIST's format from `root` or from torchvision's folders below it."""
    # The names of the files on Yann LeCun's page; the test set has 10,000 pictures.
    prefix = "t10k" if split == "test" else "train"
    for folder in (root, root / "MNIST" / "raw", root / "FashionMNIST" / "raw"):
        images = _plain_or_gzipped(folder / f"{prefix}-images-idx3-ubyte")
        labels = _plain_or_gzipped(folder / f"{prefix}-labels-idx1-ubyte")
        if images and labels:
            pixels = _read_idx(images)[:, None]  # (n, 1, 28, 28)
            return pixels.astype(np.float32) / 255, _read_idx(labels).astype(np.int64)
    return None


def _plain_or_gzipped(path: Path) -> Path | None:
    for candidate in (path.with_name(f"{path.name}.gz"), path):
        if candidate.is_file():
            return candidate
    return None


def _read_idx(path: Path) -> np.ndarray:
    """Read an IDX file of bytes, gzipped or not (format: Yann LeCun's MNIST page)."""
    try:
        raw = gzip.decompress(path.read_bytes()) if path.suffix == ".gz" else path.read_bytes()
        # Two zeros, the type (8: unsigned bytes), the number of axes, then each axis's length as a big-endian uint32.
        if raw[:3] != b"\0\0\x08":
            raise ValueError("it is no IDX file of bytes")
        n_axes = raw[3]
        shape = np.frombuffer(raw, ">u4", count=n_axes, offset=4)
        return np.frombuffer(raw, np.uint8, offset=4 + 4 * n_axes).reshape(shape)
    except (OSError, EOFError, ValueError, IndexError) as problem:
        raise DataError(f"{path} cannot be read: {problem}") from problem


def _read_cifar10(root: Path, split: str) -> ImagesAndTargets | None:
    import torchvision

    # CIFAR-10 comes as pickles. torchvision compares their MD5 with the published ones before it reads them.
    try:
        data = torchvision.datasets.CIFAR10(root, train=split == "train")
    except RuntimeError:  # not there, or with another MD5
        return None
    return channels_first(data.data), np.asarray(data.targets, np.int64)
