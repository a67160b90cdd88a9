"""The pictures of a page: every pixel of small drawings, or photographs on sheets that browsers decode when needed."""

from __future__ import annotations

import base64
import io
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from torchviz_layers.page.columns import Column, column
from torchviz_layers.page.thumbnails import BUDGET, MAX_SIDE, square, to_bytes, to_pillow

Images = NDArray[Any] | Sequence[NDArray[Any]]

# Most bytes, as they are in the file, of all pictures of a page: the more there are, the smaller each is shown.
PICTURES_BUDGET = 8 << 20
# Up to so many bytes, as they are in the file, pictures of at most MAX_SIDE pixels keep every pixel.
LOSSLESS_BUDGET = 2 << 20
# Longer sides, in pixels, at which pictures are shown that are larger or too many. Those of multiples of 16 fill whole
# blocks of WebP and JPEG.
SIDES = (224, 192, 160, 128, 112, 96, 80, 64, 56, 48, 40, 32, 24, 16)
SHEET = 1024  # pixels of a sheet's side: it is decoded in some ten milliseconds, to 4 MB
BLOCK = 16  # a picture on a sheet begins with a block of the format, so that none runs into the next
QUALITY = 80
IN_BLOCK = 256  # pictures that are in memory at once, where each is wanted by itself
SAMPLED = 32  # pictures by which the bytes of all are estimated


@dataclass(frozen=True)
class Plan:
    """How the pictures are shown: in pixels of `height` x `width`, each of them kept or encoded with some loss."""

    height: int
    width: int
    lossless: bool


@dataclass(frozen=True)
class Sheet:
    """Pictures side by side in one file: its media type, and its bytes in base64."""

    media_type: str
    data: str


@dataclass(frozen=True)
class Pictures:
    """What a page contains of its pictures: a column of pixels or sheets, and what its script knows of them.

    `shrinking` is a sentence on pictures that are shown smaller than they are; empty if none are.
    """

    columns: dict[str, Column] = field(default_factory=dict)
    sheets: tuple[Sheet, ...] = ()
    meta: dict[str, Any] | None = None
    shrinking: str = ""


def shown_pictures(images: Images | None) -> Pictures:
    """Return the pictures as a page contains them; samples without pictures have none.

    Raises
    ------
    PageError
        If a picture has another number of channels or axes than pictures have.
    """
    if images is None or not len(images):
        return Pictures()
    plan = planned(images)
    meta, note = {"width": plan.width, "height": plan.height}, _shrinking(images, plan)
    if plan.lossless:
        pixels = column(_pixels(images, slice(None), plan.height, plan.width))
        return Pictures({"pixels": pixels}, meta=meta, shrinking=note)
    across, down = _grid(plan.height, plan.width)
    sheets = []
    for first in range(0, len(images), across * down):
        # Sheet by sheet: the pictures may lie in a file, and all of them need not fit into memory.
        part = _pixels(images, slice(first, first + across * down), plan.height, plan.width)
        media_type, data = _encoded(_sheet(part))
        sheets.append(Sheet(media_type, base64.b64encode(data).decode("ascii")))
    # Where sample k is: on sheet k // (across * down), row by row.
    return Pictures(sheets=tuple(sheets), meta=meta | {"across": across, "down": down}, shrinking=note)


def in_size(images: Images, plan: Plan) -> Iterator[NDArray[np.uint8]]:
    """Yield each picture as uint8 (height, width, channels), in the size that is planned."""
    for first in range(0, len(images), IN_BLOCK):
        yield from _pixels(images, slice(first, first + IN_BLOCK), plan.height, plan.width)


def data_url(pixels: NDArray[np.uint8]) -> str:
    """Return one picture (height, width, channels), encoded with some loss, as a URL that contains it."""
    media_type, data = _encoded(pixels)
    return f"data:{media_type};base64,{base64.b64encode(data).decode('ascii')}"


def planned(images: Images) -> Plan:
    """Return the largest size in which the pictures stay within the budget, estimated by encoding some of them.

    Small pictures keep every pixel where this needs few bytes, or hardly more than encoding them: drawings and digits.
    """
    height, width = _own_size(images)
    longest = max(height, width)
    some = np.unique(np.linspace(0, len(images) - 1, SAMPLED).astype(int))
    sides = [side for side in (min(longest, SIDES[0]), *SIDES) if side <= longest]
    sizes = [_scaled(height, width, side) for side in dict.fromkeys(sides)] or [(height, width)]
    if longest <= MAX_SIDE:
        pixels = _pixels(images, some, height, width)
        share = len(images) / len(some)
        kept = len(column(pixels)["data"]) * share
        lossy = _in_file(len(_encoded(_sheet(pixels))[1])) * share
        few = kept <= LOSSLESS_BUDGET or kept <= min(1.5 * lossy, PICTURES_BUDGET)
        if few and pixels.nbytes * share <= BUDGET:
            return Plan(height, width, lossless=True)
    for size in sizes:
        pixels = _pixels(images, some, *size)
        if _in_file(len(_encoded(_sheet(pixels))[1])) * len(images) / len(some) <= PICTURES_BUDGET:
            break
    return Plan(*size, lossless=False)


def _shrinking(images: Images, plan: Plan) -> str:
    own = _own_size(images)
    if own == (plan.height, plan.width):
        return ""
    if _is_block(images):
        return f"pictures shrunk from {own[1]} x {own[0]} to {plan.width} x {plan.height} px"
    return f"pictures of up to {max(own)} px shrunk to at most {plan.width} px"


def _is_block(images: Images) -> bool:
    """Whether the pictures are one array, all of one size."""
    return isinstance(images, np.ndarray) and images.dtype != object


def _own_size(images: Images) -> tuple[int, int]:
    """Return the height and width that the pictures have: of different sizes, those of the square that holds each."""
    if _is_block(images):
        height, width = np.shape(images)[-2:]
        return int(height), int(width)
    side = max((max(np.shape(image)[-2:], default=1) for image in images), default=1)
    return int(side), int(side)


def _scaled(height: int, width: int, side: int) -> tuple[int, int]:
    scale = min(1.0, side / max(height, width))
    return max(1, round(height * scale)), max(1, round(width * scale))


def _pixels(images: Images, rows: slice | NDArray[np.intp], height: int, width: int) -> NDArray[np.uint8]:
    """Return pictures of some rows as uint8 (n, height, width, channels)."""
    if not isinstance(images, np.ndarray) or images.dtype == object:  # as `_is_block`, which mypy does not see through
        numbers = np.arange(len(images))[rows]
        # Of all pictures, not of these: sheets of one page are alike.
        channels = 1 if all(np.shape(image)[:1] == (1,) for image in images) else 3
        return square([to_bytes(np.asarray(images[number]), axes=3) for number in numbers], width, channels)
    block = images[rows]
    block = to_bytes(block[:, None] if block.ndim == 3 else block, axes=4)
    if block.shape[1:3] == (height, width):
        return block
    small = np.empty((len(block), height, width, block.shape[3]), np.uint8)
    for target, picture in zip(small, block, strict=True):
        target[:] = _resized(picture, height, width).reshape(target.shape)
    return small


def _resized(picture: NDArray[np.uint8], height: int, width: int) -> NDArray[np.uint8]:
    from PIL import Image

    # Whole factors first: ten times as fast, and hardly to be seen.
    return np.asarray(to_pillow(picture).resize((width, height), Image.Resampling.HAMMING, reducing_gap=2.0))


def _grid(height: int, width: int) -> tuple[int, int]:
    """Return how many pictures stand side by side on a sheet, and how many below each other."""
    return max(1, SHEET // _pitch(width)), max(1, SHEET // _pitch(height))


def _pitch(extent: int) -> int:
    """Return how far a picture is from the next, in whole blocks."""
    return -(-extent // BLOCK) * BLOCK


def _sheet(pixels: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Return pictures (n, height, width, channels) row by row in one, as narrow and as low as they allow."""
    n, height, width, channels = pixels.shape
    across = min(n, _grid(height, width)[0])
    lines = -(-n // across)
    # A picture's edge goes on to the end of its last block: an edge to black would blur into it.
    margins = ((0, lines * across - n), (0, _pitch(height) - height), (0, _pitch(width) - width), (0, 0))
    tiles = np.pad(pixels, margins, mode="edge")
    tiles = tiles.reshape(lines, across, *tiles.shape[1:])  # (lines, across, pitch, pitch, channels)
    return tiles.swapaxes(1, 2).reshape(lines * tiles.shape[2], across * tiles.shape[3], channels)


def _encoded(sheet: NDArray[np.uint8]) -> tuple[str, bytes]:
    """Return a picture's media type and file: WebP or, where Pillow was built without it, JPEG."""
    from PIL import features

    name = "WEBP" if features.check("webp") else "JPEG"
    data = io.BytesIO()
    to_pillow(sheet).save(data, name, quality=QUALITY)
    return f"image/{name.lower()}", data.getvalue()


def _in_file(count: int) -> float:
    """Return the bytes in base64 of so many bytes."""
    return count * 4 / 3
