"""`.npz` files with samples and what belongs to them."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from torchviz_layers._common.arrays import Array
from torchviz_layers._common.files import read_npz
from torchviz_layers.data.feeding import is_series
from torchviz_layers.data.parts import TARGET_KEYS
from torchviz_layers.data.pictures import channels_first, pictures_in_memory
from torchviz_layers.data.samples import Samples
from torchviz_layers.exceptions import DataError

_BITS = "the images are of 8 bits and none is above 1, taken as 1/255; if 1 is white, save them as bool or float"
_INPUTS = ("X", "x", "inputs", "data")


def load_npz(path: Path, split: str, targets: str | None = None) -> Samples:
    """Read inputs, targets, class names and ids, as `load_dataset` describes.

    `targets` is the name of the array that has them. Without it: `targets`, `labels`, `y` and the like, or Keras's
    `y_test` for the split "test".
    """
    try:
        arrays = read_npz(path)
    except ValueError as problem:
        raise DataError(f"{path} cannot be read: {problem}") from problem
    key = _first(arrays, ("images", f"x_{split}", *_INPUTS))
    if key is None:
        raise DataError(
            f"{path} has {', '.join(arrays) or 'no array'}; 'images' (or Keras's 'x_{split}', or 'X') is missing"
        )
    inputs = arrays[key]
    if inputs.ndim < 2 or inputs.dtype.kind not in "biuf":
        raise DataError(
            f"{path}: {key!r} must be numbers (n_samples, height, width), got {inputs.dtype} {inputs.shape}"
        )
    if targets is not None and targets not in arrays:
        raise DataError(f"{path}: targets={targets!r} is none of its arrays; it has {', '.join(arrays)}")
    chosen = targets or _first(arrays, ("targets", f"y_{split}", *TARGET_KEYS))
    labels = None if chosen is None else arrays[chosen]
    names = tuple(np.atleast_1d(arrays.get("class_names", ())))
    ids = arrays.get("ids")
    if not _are_pictures(key, inputs):
        return Samples.of(inputs, targets=labels, class_names=names, ids=ids, name=path.stem)
    # Bytes that are only 0 and 1 may be a mask with 1 as white, or nearly black pictures. They are read as pictures.
    only_bits = inputs.dtype == np.uint8 and inputs.size and inputs.max() == 1
    return pictures_in_memory(
        channels_first(inputs), labels, names, ids, name=path.stem, notice=_BITS if only_bits else ""
    )


def _first(arrays: dict[str, Array], names: tuple[str, ...]) -> str | None:
    return next((name for name in names if name in arrays), None)


def _are_pictures(key: str, inputs: Array) -> bool:
    if key in _INPUTS or inputs.ndim not in (3, 4):
        return False
    # Keras's names are those of any data; (n, length, channels) are series.
    return key == "images" or inputs.ndim == 4 or not is_series(inputs.shape[1:])
