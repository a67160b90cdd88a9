"""Small uint8 pictures of image batches."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import torch
import torch.nn.functional as F

from torchviz_layers._common.nested import tensors_in
from torchviz_layers.exceptions import DataError


def thumbnails(inputs: Any, edge: int) -> npt.NDArray[np.uint8]:
    """Return pictures (n, height, width, channels) of at most `edge` pixels a side.

    Values in [0, 1] are taken as they are; others are stretched, each picture from its least to its greatest value.
    """
    images = next((tensor for _, tensor in tensors_in(inputs)), None)
    if images is None or images.dim() != 4 or images.shape[1] not in (1, 3):
        shape = None if images is None else tuple(images.shape)
        raise DataError(f"thumbnails={edge}: inputs of shape {shape} are no images (n, 1 or 3 channels, height, width)")
    images = images.detach().float().cpu()
    low, high = images.amin((1, 2, 3), keepdim=True), images.amax((1, 2, 3), keepdim=True)
    # A picture of one value has no range: the smallest normal number in its place avoids a division by 0.
    stretched = (images - low) / (high - low).clamp(min=torch.finfo(torch.float32).tiny)
    images = torch.where((low < 0) | (high > 1), stretched, images)
    scale = edge / max(images.shape[2:])
    if scale < 1:
        size = [max(1, round(extent * scale)) for extent in images.shape[2:]]
        images = F.interpolate(images, size=size, mode="area")
    return (images * 255).round().to(torch.uint8).permute(0, 2, 3, 1).contiguous().numpy()
