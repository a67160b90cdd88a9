"""`.npz` files with images and what belongs to them."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from torchviz_layers._common.files import read_npz
from torchviz_layers.data.pictures import channels_first, pictures_in_memory
from torchviz_layers.data.samples import Samples
from torchviz_layers.exceptions import DataError

_BITS = "the images are of 8 bits and none is above 1, taken as 1/255; if 1 is white, save them as bool or float"


def load_npz(path: Path, split: str) -> Samples:
    """Read `images`, `targets`, `class_names` and `ids`, or Keras's `x_test` and `y_test` for the split "test"."""
    try:
        arrays = read_npz(path)
    except ValueError as problem:
        raise DataError(f"{path} cannot be read: {problem}") from problem
    images = arrays.get("images", arrays.get(f"x_{split}"))
    if images is None:
        raise DataError(f"{path} has {', '.join(arrays) or 'no array'}; 'images' (or Keras's 'x_{split}') is missing")
    if images.ndim < 2 or images.dtype.kind not in "biuf":
        raise DataError(
            f"{path}: 'images' must be numbers (n_samples, height, width), got {images.dtype} {images.shape}"
        )
    targets = arrays.get("targets", arrays.get(f"y_{split}"))
    if targets is not None and targets.shape[1:] == (1,):
        targets = targets[:, 0]  # Keras's y_test is a column
    # Bytes that are only 0 and 1 may be a mask with 1 as white, or nearly black pictures. They are read as pictures.
    only_bits = images.dtype == np.uint8 and images.size and images.max() == 1
    return pictures_in_memory(
        channels_first(images),
        targets,
        tuple(np.atleast_1d(arrays.get("class_names", ()))),
        arrays.get("ids", np.arange(len(images))),
        name=path.stem,
        notice=_BITS if only_bits else "",
    )
