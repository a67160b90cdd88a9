"""How a sample is shown: as a picture, a text, a row of numbers, a curve for each channel, or by its id."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, Literal, get_args

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from torchviz_layers._common.arrays import Array, as_numpy
from torchviz_layers._common.nested import describe
from torchviz_layers.data.feeding import SCALES, channel_axis, is_series, picture_pixels
from torchviz_layers.exceptions import DataError

View = Literal["image", "text", "row", "series", "id"]
VIEWS: tuple[str, ...] = get_args(View)
EDGE = 64  # pixels of a thumbnail's longer side, of however many
LARGE_EDGE = 224  # of few pictures
AT_ONCE = 8 << 20  # bytes of pictures, as floats, that are shrunk at once
LONGEST_ROW = 4096  # numbers; longer rows are no table that anyone reads
POINTS = 256  # of a curve


def is_picture(value: Any) -> bool:
    """Whether a value is a picture of Pillow's, which is not imported for the question."""
    return any(cls.__module__.startswith("PIL.") for cls in type(value).__mro__)


def view_of(sample: Any) -> View:
    """Return how one sample is shown, by its type and shape."""
    if isinstance(sample, str):
        return "text"
    if is_picture(sample):
        return "image"
    shape = tuple(getattr(sample, "shape", ()))
    if len(shape) == 3 and channel_axis(shape) is not None:
        return "image"
    if len(shape) == 2:
        return "series" if is_series(shape) else "image"
    if len(shape) == 1 and 0 < shape[0] <= LONGEST_ROW:
        return "row"
    return "id"


def as_batch(looks: Any) -> Tensor | None:
    """Return looks as one tensor (n, ...) where they are arrays of one shape; None where they are not."""
    if isinstance(looks, Tensor):
        return looks.detach()
    if isinstance(looks, np.ndarray):
        return None if looks.dtype.kind in "OUST" else torch.from_numpy(np.array(looks))
    pixels = [picture_pixels(look) if is_picture(look) else look for look in looks]
    parts = [look if isinstance(look, Tensor) else torch.from_numpy(np.array(look)) for look in pixels]
    same = len({(tuple(part.shape), part.dtype) for part in parts}) == 1
    return torch.stack(parts).detach() if same else None


def thumbnails(batch: Tensor, edge: int = EDGE) -> tuple[Array, int]:
    """Return pictures (n, c, h, w), (n, h, w, c) or (n, h, w) as uint8 (n, c, h', w') of at most `edge` pixels a side.

    Floats outside [0, 1] are stretched, each picture from its least to its greatest value; the second result is how
    many were.
    """
    if batch.dim() == 3:
        batch = batch[:, None]
    elif channel_axis(tuple(batch.shape[1:])) == 2:
        batch = batch.movedim(3, 1)
    found = [_thumbnails(part, edge) for part in torch.split(batch, at_once(batch.shape))]
    return np.concatenate([small for small, _ in found]), sum(stretched for _, stretched in found)


def at_once(shape: Sequence[int]) -> int:
    """Return how many pictures of a block of this shape to compute with at once, so that a pass needs little memory."""
    return max(1, AT_ONCE // max(1, 4 * math.prod(shape[1:])))


def _thumbnails(batch: Tensor, edge: int) -> tuple[Array, int]:
    images = batch.cpu().to(torch.float32)
    if batch.dtype in SCALES:
        low, high = torch.zeros(len(batch), 1, 1, 1), torch.full((len(batch), 1, 1, 1), float(SCALES[batch.dtype]))
        outside = torch.zeros(len(batch), 1, 1, 1, dtype=torch.bool)
    else:
        low, high = images.amin((1, 2, 3), keepdim=True), images.amax((1, 2, 3), keepdim=True)
        if not (torch.isfinite(low) & torch.isfinite(high)).all():
            images = torch.nan_to_num(images, posinf=0, neginf=0)
            low, high = images.amin((1, 2, 3), keepdim=True), images.amax((1, 2, 3), keepdim=True)
        outside = (low < 0) | (high > 1)
        low, high = torch.where(outside, low, 0), torch.where(outside, high, 1)
    scale = edge / max(images.shape[2:])
    if scale < 1:
        size = [max(1, round(extent * scale)) for extent in images.shape[2:]]
        images = F.interpolate(images, size=size, mode="area")
    # A picture of one value has no range: the smallest normal number in its place avoids a division by 0.
    images = (images - low) / (high - low).clamp(min=torch.finfo(torch.float32).tiny)
    return (images * 255).round().to(torch.uint8).numpy(), int(outside.sum())


def small_picture(picture: Any) -> Array:
    """Return a picture, Pillow's or an array, as uint8 (channels, h, w) of at most `LARGE_EDGE` pixels a side."""
    if is_picture(picture):
        if picture.mode not in ("1", "I", "F", "P") and not picture.mode.startswith("I;"):
            reduction = min(picture.size) // LARGE_EDGE
            # Whole factors are quick and leave less to interpolate.
            picture = picture.reduce(reduction) if reduction > 1 else picture
        picture = np.array(picture_pixels(picture))
    small, _ = thumbnails(torch.as_tensor(picture)[None], LARGE_EDGE)
    return np.asarray(small[0])


def curves(batch: Tensor) -> Array:
    """Return series (n, channels, length), (n, length, channels) or (n, length) as float32 (n, channels, <= POINTS)."""
    values = as_numpy(batch).astype(np.float32)
    if values.ndim == 2:
        values = values[:, None]
    if values.shape[1] > values.shape[2]:
        values = np.swapaxes(values, 1, 2)
    length = values.shape[2]
    if length <= POINTS:
        return values
    starts = np.arange(POINTS) * length // POINTS  # each point is the mean of the values up to the next start
    counts = np.diff(np.append(starts, length))
    means: Array = np.add.reduceat(values, starts, axis=2) / counts.astype(np.float32)
    return means


def table_rows(batch: Tensor) -> Array:
    """Return samples (n, ...) as rows of float32 (n, n_features)."""
    rows = as_numpy(batch).astype(np.float32)
    return rows.reshape(len(rows), -1)


def check_view(view: View, sample: Any) -> None:
    """Raise `DataError` if a sample cannot be shown in the view that was asked for."""
    shape = tuple(getattr(sample, "shape", ()))
    picture = is_picture(sample)
    fits = {
        "image": picture or len(shape) == 2 or (len(shape) == 3 and channel_axis(shape) is not None),
        "text": isinstance(sample, str),
        "row": not picture and 0 < int(np.prod(shape)) <= LONGEST_ROW and shape != (),
        "series": len(shape) in (1, 2) and not picture,
        "id": True,
    }
    if not fits[view]:
        raise DataError(
            f"view={view!r}: samples are {describe(sample)} and cannot be shown so; view= takes {', '.join(VIEWS)}, "
            "a function that returns a picture, a text or numbers of a sample, or a list of those"
        )
