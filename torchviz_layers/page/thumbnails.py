"""Pictures of any size and kind -> one block of bytes of at most 64 pixels a side, and the steps to it."""

from __future__ import annotations

import io
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from torchviz_layers.exceptions import PageError

MAX_SIDE = 64
MIN_SIDE = 12
# Most bytes of all pictures of a page; where they would need more they are shrunk, and the page says so.
BUDGET = 24 << 20


def thumbnails(images: NDArray[Any] | Sequence[NDArray[Any]]) -> NDArray[np.uint8]:
    """Return the pictures as uint8 of shape (n, height, width, channels), small enough for a page.

    Pictures of the same size keep every pixel up to 64 x 64; larger ones are shrunk. Pictures of different sizes are
    centred in squares of one size.

    Parameters
    ----------
    images
        Pictures of shape (n, channels, height, width) or (n, height, width), or a sequence of pictures of shape
        (channels, height, width); 1, 3 or 4 channels (the fourth is dropped), float in [0, 1] or uint8.

    Raises
    ------
    PageError
        If a picture has another number of channels or axes.
    """
    if isinstance(images, np.ndarray) and images.dtype != object:
        if images.ndim == 3:  # without an axis of channels
            images = images[:, None]
        block = to_bytes(images, axes=4)
    else:
        pictures = [to_bytes(np.asarray(image), axes=3) for image in images]
        side = min(MAX_SIDE, max((max(picture.shape[:2]) for picture in pictures), default=1))
        block = square(pictures, side, max((picture.shape[2] for picture in pictures), default=1))
    height, width = _size(*block.shape)  # in which they are shown
    return block if (height, width) == block.shape[1:3] else _resize(block, height, width)


def png(pixels: NDArray[np.uint8]) -> bytes:
    """Return one picture of shape (height, width, channels) as a PNG file."""
    data = io.BytesIO()
    to_pillow(pixels).save(data, "PNG")
    return data.getvalue()


def to_pillow(pixels: NDArray[np.uint8]) -> Any:
    """Return a picture of shape (height, width, channels) as Pillow's; it has no third axis for one channel."""
    from PIL import Image

    if pixels.shape[2] == 1:
        pixels = pixels.squeeze(2)
    return Image.fromarray(pixels)


def _size(n: int, height: int, width: int, channels: int) -> tuple[int, int]:
    """Return the height and width in which n pictures are shown: their own, or less to stay within the budget."""
    # Side of a square picture of which n fit into the budget.
    side = int(np.clip((BUDGET / max(1, n * channels)) ** 0.5, MIN_SIDE, MAX_SIDE))
    scale = min(1.0, side / max(height, width))
    return max(1, round(height * scale)), max(1, round(width * scale))


def to_bytes(images: NDArray[Any], axes: int) -> NDArray[np.uint8]:
    """Return (..., channels, height, width) as uint8 (..., height, width, channels) with 1 or 3 channels.

    Raises
    ------
    PageError
        If there are other channels or axes.
    """
    if images.ndim != axes or images.shape[-3] not in (1, 3, 4):
        raise PageError(f"images: shape {images.shape}; pass (n, channels, height, width) with 1, 3 or 4 channels")
    # Channels last, and without a fourth channel, which is opacity.
    last = np.moveaxis(images, -3, -1)[..., :3]
    if last.dtype == np.uint8:
        return np.ascontiguousarray(last)
    return np.asarray(np.rint(np.nan_to_num(last, nan=0.0).clip(0, 1) * 255), dtype=np.uint8)


def square(images: list[NDArray[np.uint8]], side: int, channels: int) -> NDArray[np.uint8]:
    """Centre pictures of different sizes, shrunk if they are larger, in squares of one size."""
    block = np.zeros((len(images), side, side, channels), np.uint8)  # black around the pictures
    for target, image in zip(block, images, strict=True):
        picture = to_pillow(image)
        picture.thumbnail((side, side))
        pixels = np.asarray(picture)
        height, width = pixels.shape[:2]
        top, left = (side - height) // 2, (side - width) // 2
        # A grey picture among coloured ones fills all three channels.
        target[top : top + height, left : left + width] = pixels.reshape(height, width, -1)
    return block


def _resize(block: NDArray[np.uint8], height: int, width: int) -> NDArray[np.uint8]:
    from PIL import Image

    channels = block.shape[3]
    small = np.empty((len(block), height, width, channels), np.uint8)
    for target, image in zip(small, block, strict=True):
        picture = to_pillow(image)
        # Pillow drops the axis of a single channel, hence the reshape.
        target[:] = np.asarray(picture.resize((width, height), Image.Resampling.BOX)).reshape(target.shape)
    return small
