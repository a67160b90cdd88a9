"""Pictures recorded batch by batch: the more there are, the smaller each is kept."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from torchviz_layers._common.arrays import Array
from torchviz_layers.data.spilling import IN_MEMORY, Rows
from torchviz_layers.data.views import EDGE, LARGE_EDGE, at_once, thumbnails

# Longer sides, in pixels, from that of few pictures to that of many.
EDGES = (LARGE_EDGE, 128, EDGE)


class PictureRows:
    """Pictures of at most `edge` pixels a side, uint8 (channels, height, width), in memory or in a file.

    It begins with the largest edge. When the pictures need more than `in_memory` bytes, all are shrunk to the next one,
    so that those of one pass have one size; of the smallest edge any number is kept, as `Rows` keep them.
    """

    def __init__(self, in_memory: int = IN_MEMORY) -> None:
        self.in_memory = in_memory
        self.edge = EDGES[0]
        # While they may be larger than the smallest edge: (n, channels, height, width), and their bytes.
        self._blocks: list[Array] = []
        self._bytes = 0
        self._rows: Rows | None = None
        self._shapes: list[tuple[int, ...]] = []  # of each picture in `_rows`

    def append(self, batch: Tensor) -> int:
        """Add pictures as `thumbnails` takes them; return how many were stretched to [0, 1]."""
        block, stretched = thumbnails(batch, self.edge)
        if self._rows is None:
            self._blocks.append(block)
            self._bytes += block.nbytes
            while self._rows is None and self._bytes > self.in_memory:
                self._shrink()
        else:
            self._keep(block)
        return stretched

    def _shrink(self) -> None:
        self.edge = EDGES[EDGES.index(self.edge) + 1]
        # In place, block by block: at no time are there two copies of all.
        for place, block in enumerate(self._blocks):
            self._blocks[place] = shrunk(block, self.edge)
        self._bytes = sum(block.nbytes for block in self._blocks)
        if self.edge == EDGES[-1]:
            self._rows = Rows(np.uint8, self.in_memory)
            for block in self._blocks:
                self._keep(block)
            self._blocks.clear()

    def _keep(self, block: Array) -> None:
        assert self._rows is not None
        self._rows.append(block)
        self._shapes += [block.shape[1:]] * len(block)

    def read(self) -> Any:
        """Return all pictures as one array (n, channels, height, width); those of different sizes as a list."""
        if self._rows is None:
            if len({block.shape[1:] for block in self._blocks}) > 1:
                return [picture for block in self._blocks for picture in block]
            return np.concatenate(self._blocks)
        values = self._rows.read()
        if len(set(self._shapes)) == 1:
            return values.reshape(len(self._shapes), *self._shapes[0])
        ends = np.cumsum([int(np.prod(shape)) for shape in self._shapes])[:-1]
        return [part.reshape(shape) for part, shape in zip(np.split(values, ends), self._shapes, strict=True)]


def shrunk(block: Array, edge: int) -> Array:
    """Return uint8 pictures (n, channels, height, width) of at most `edge` pixels a side, by the means of areas."""
    scale = edge / max(block.shape[2:])
    if scale >= 1:
        return block
    size = [max(1, round(extent * scale)) for extent in block.shape[2:]]
    parts = torch.split(torch.from_numpy(block), at_once(block.shape))
    means = [F.interpolate(part.to(torch.float32), size=size, mode="area").round().to(torch.uint8) for part in parts]
    return np.asarray(torch.cat(means).numpy())
