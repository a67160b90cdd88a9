"""Pictures as float32 in [0, 1], whatever their files hold."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from torchviz_layers.exceptions import DataError

if TYPE_CHECKING:
    from PIL.Image import Image

_SEVERAL_FRAMES = "with several frames or pages: the first is taken"
_BAD_EXIF = "with damaged EXIF data: taken as the file has them, not turned"


def read_pictures(files: Sequence[Path], size: int | None) -> tuple[np.ndarray, list[str]]:
    """Return pictures as float32 of shape (n, 3, height, width) in [0, 1], turned as their EXIF data say, and remarks.

    Raises
    ------
    DataError
        If a file cannot be read, its range of values cannot be known, or the pictures differ in size.
    """
    from tqdm import tqdm

    bar = tqdm(files, desc="reading images", unit="image", delay=2, leave=False, disable=None)
    counts: Counter[str] = Counter()
    pixels = [_read(path, size, counts) for path in bar]
    shapes = Counter(picture.shape[1:] for picture in pixels)
    if len(shapes) > 1:
        (common, _), (other, _) = shapes.most_common(2)
        raise DataError(
            f"images of different sizes ({common[1]} x {common[0]}, {other[1]} x {other[0]}, ...): "
            "give --image-size, or load_dataset(..., size=224)"
        )
    remarks = [f"{count:,} picture{'s' * (count > 1)} {what}" for what, count in counts.items() if count]
    return np.stack(pixels), remarks


def _read(path: Path, size: int | None, counts: Counter[str]) -> np.ndarray:
    from PIL import Image, ImageOps

    try:
        with Image.open(path) as file:
            kind = file.format or ""
            picture = _in_eight_bits_or_float(_turned(file, counts), kind, path)
            picture = picture if size is None else ImageOps.fit(picture, (size, size))
            pixels = _as_float(np.asarray(picture))
            counts[_SEVERAL_FRAMES] += _count_frames(file) > 1
            return pixels
    except DataError:
        raise
    except Exception as problem:  # Pillow's readers have errors of every kind
        raise DataError(f"{path} cannot be read: {problem}") from problem


def _turned(file: Image, counts: Counter[str]) -> Image:
    """Return a picture turned as its EXIF data say, as it lies where these are damaged."""
    from PIL import ImageOps

    try:
        return ImageOps.exif_transpose(file)
    except Exception:  # Pillow's readers have errors of every kind
        file.load()  # raises where it is the pixels that are damaged
        counts[_BAD_EXIF] += 1
        return file


def _count_frames(file: Image) -> int:
    with suppress(Exception):  # damage behind the first frame
        return int(getattr(file, "n_frames", 1))
    return 1


def _in_eight_bits_or_float(picture: Image, file_kind: str, path: Path) -> Image:
    """Return a picture in mode RGB, or, where 8 bits would lose or clip values, in mode F with values in [0, 1].

    Pillow's `convert("RGB")` clips at 255: of 16-bit grey nearly all is white then, of floats in [0, 1] all is black.
    A grey PGM (kind PPM) of more than 8 bits is in mode I, scaled from its own largest value to 65535.
    """
    from PIL import Image

    if picture.mode.startswith("I;16") or (picture.mode == "I" and file_kind in ("PNG", "PPM")):
        return Image.fromarray(np.asarray(picture).astype(np.float32) / np.float32(65535))
    if picture.mode not in ("I", "F"):
        return picture.convert("RGB")
    values = np.asarray(picture)
    low, high = float(values.min()), float(values.max())
    if picture.mode == "I" or not 0 <= low <= high <= 1:  # NaN fails the comparison too
        kind = "32-bit integers" if picture.mode == "I" else "floats"
        raise DataError(
            f"{path}: {kind} from {low:g} to {high:g}, of which no file says what black and white are; "
            "save it with 8 or 16 bits, or as floats in [0, 1]"
        )
    return picture


def _as_float(pixels: np.ndarray) -> np.ndarray:
    """Return pixels (h, w, 3) of bytes or (h, w) of floats as (3, h, w)."""
    if pixels.ndim == 2:  # resizing may leave [0, 1] a little
        return np.stack([np.clip(pixels, 0, 1)] * 3)
    picture: np.ndarray = channels_first(pixels[None])[0]
    return picture


def channels_first(images: np.ndarray) -> np.ndarray:
    """Turn (n, h, w), (n, h, w, c) or (n, c, h, w) of bytes or floats into (n, c, h, w) of float32.

    Raises
    ------
    DataError
        If the shape does not say which axis holds the channels.
    """
    if images.ndim == 3:
        images = images[:, None]
    elif images.ndim == 4 and _channels_are_last(images.shape):
        images = np.moveaxis(images, 3, 1)
    scale = 255 if images.dtype == np.uint8 else 1
    return np.ascontiguousarray(images, np.float32) / np.float32(scale)


def _channels_are_last(shape: tuple[Any, ...]) -> bool:
    _, second, third, last = shape
    # 1 and 3 are channels more surely than 4: pictures of 4 x 4 px exist where (n, 4, 4, 3) is given.
    for channels in ((1, 3), (1, 3, 4)):
        if (second in channels) != (last in channels):
            return bool(last in channels)
    if second == third == last == 1:
        return False  # the same either way
    if second not in (1, 3, 4) and (second == third) != (third == last):
        return bool(second == third)  # of other numbers of channels, those of square pictures are known
    raise DataError(
        f"images of shape {shape}: it does not say which axis holds the channels; "
        "Samples(images) takes float32 in [0, 1] of shape (n_samples, channels, height, width)"
    )
