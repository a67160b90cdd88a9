"""Pictures of any file type and pixel type as float32 in [0, 1]."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from torchviz_layers.data.samples import Samples
from torchviz_layers.exceptions import DataError

if TYPE_CHECKING:
    from PIL.Image import Image

_SEVERAL_FRAMES = "with several frames or pages: the first is used"
_BAD_EXIF = "with damaged EXIF data: used as stored, not rotated"


def read_pictures(files: Sequence[Path], size: int | None) -> tuple[np.ndarray, list[str]]:
    """Return pictures as float32 of shape (n, 3, height, width) in [0, 1], and remarks on them.

    They are rotated as their EXIF data say. `size` resizes the shorter side and crops the middle to a square.

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
    remarks = []
    for what, count in counts.items():
        if count:
            plural = "s" if count > 1 else ""
            remarks.append(f"{count:,} picture{plural} {what}")
    return np.stack(pixels), remarks


def _read(path: Path, size: int | None, counts: Counter[str]) -> np.ndarray:
    from PIL import Image, ImageOps

    try:
        with Image.open(path) as file:
            kind = file.format or ""
            picture = _rgb_or_float(_rotated(file, counts), kind, path)
            if size is not None:
                picture = ImageOps.fit(picture, (size, size))
            pixels = _as_float(np.asarray(picture))
            # After the pixels are read: counting frames moves Pillow's position in the file.
            counts[_SEVERAL_FRAMES] += _count_frames(file) > 1
            return pixels
    except DataError:
        raise
    except Exception as problem:  # Pillow's readers have errors of every kind
        raise DataError(f"{path} cannot be read: {problem}") from problem


def _rotated(file: Image, counts: Counter[str]) -> Image:
    """Return a picture rotated as its EXIF data say; if these are damaged, as stored."""
    from PIL import ImageOps

    try:
        return ImageOps.exif_transpose(file)
    except Exception:  # Pillow's readers have errors of every kind
        file.load()  # raises if it is the pixels that are damaged
        counts[_BAD_EXIF] += 1
        return file


def _count_frames(file: Image) -> int:
    with suppress(Exception):  # the file is damaged after the first frame
        return int(getattr(file, "n_frames", 1))
    return 1


def _rgb_or_float(picture: Image, file_kind: str, path: Path) -> Image:
    """Return a picture in Pillow's mode RGB (8 bits), or in mode F with values in [0, 1] where RGB would lose some.

    `convert("RGB")` clips at 255: nearly all of a 16-bit grey picture would become white, and all of a picture of
    floats in [0, 1] black.
    """
    from PIL import Image

    # Mode I is 32-bit integers. Pillow also uses it for 16-bit PNG files, and for PGM files (kind PPM) of more than 8
    # bits, which it scales to a maximum of 65535.
    if picture.mode.startswith("I;16") or (picture.mode == "I" and file_kind in ("PNG", "PPM")):
        return Image.fromarray(np.asarray(picture).astype(np.float32) / np.float32(65535))
    if picture.mode not in ("I", "F"):
        return picture.convert("RGB")
    values = np.asarray(picture)
    low, high = float(values.min()), float(values.max())
    # Of other integers and floats no file says which value is white.
    if picture.mode == "I" or not 0 <= low <= high <= 1:  # NaN fails the comparison too
        kind = "32-bit integers" if picture.mode == "I" else "floats"
        raise DataError(
            f"{path}: {kind} from {low:g} to {high:g}, of which no file says what black and white are; "
            "save it with 8 or 16 bits, or as floats in [0, 1]"
        )
    return picture


def _as_float(pixels: np.ndarray) -> np.ndarray:
    """Return pixels (h, w, 3) of bytes or (h, w) of floats as (3, h, w) of float32."""
    if pixels.ndim == 2:
        grey = np.clip(pixels, 0, 1)  # resizing may overshoot [0, 1] a little
        return np.stack([grey, grey, grey])
    batch = channels_first(pixels[None])  # (1, 3, h, w)
    return np.asarray(batch[0])


def channels_first(images: np.ndarray) -> np.ndarray:
    """Convert (n, h, w), (n, h, w, c) or (n, c, h, w) of bytes or floats to (n, c, h, w) of float32.

    Raises
    ------
    DataError
        If the shape does not show which axis holds the channels.
    """
    if images.ndim == 3:
        images = images[:, None]
    elif images.ndim == 4 and _channels_are_last(images.shape):
        images = np.moveaxis(images, 3, 1)
    scale = 255 if images.dtype == np.uint8 else 1
    return np.ascontiguousarray(images, np.float32) / np.float32(scale)


def _channels_are_last(shape: tuple[Any, ...]) -> bool:
    """Decide from a shape whether it is (n, h, w, c) rather than (n, c, h, w)."""
    _, second, third, last = shape
    # If exactly one of the two axes has a usual number of channels, that is the one. 1 and 3 are tried before 4, so
    # that (n, 4, 4, 3) is read as pictures of 4 x 4 px.
    for channels in ((1, 3), (1, 3, 4)):
        if (second in channels) != (last in channels):
            return bool(last in channels)
    if second == third == last == 1:
        return False  # one pixel with one channel: both readings are the same
    # With an unusual number of channels the pictures must be square: height and width are the two equal axes.
    if second not in (1, 3, 4) and (second == third) != (third == last):
        return bool(second == third)
    raise DataError(
        f"images of shape {shape}: it does not say which axis holds the channels; "
        "give float32 in [0, 1] of shape (n_samples, channels, height, width)"
    )


def pictures_in_memory(
    images: np.ndarray,
    targets: Any = None,
    class_names: Any = (),
    ids: Any = None,
    *,
    name: str,
    notice: str = "",
    dataset: str = "",
) -> Samples:
    """Return the samples of a dataset that this library reads itself.

    `images` are float32 (n, channels, height, width); `dataset` is the name under which `load_dataset` knows them.
    """
    samples = Samples.of(images, targets=targets, class_names=class_names, ids=ids, name=name)
    return samples.known_as(notice, dataset)
