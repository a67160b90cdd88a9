"""Rows that grow batch by batch: in memory while they are few, then in a temporary file without a name."""

from __future__ import annotations

import tempfile
import weakref
from typing import IO, Any

import numpy as np

from torchviz_layers._common.arrays import Array

IN_MEMORY = 64 << 20  # bytes that one `Rows` keeps in memory


class Rows:
    """Arrays appended one after another and read back as one array, flat and read-only.

    More than `IN_MEMORY` bytes go to a file that the operating system deletes with the process; reading maps the file,
    so that only the rows that are looked at take memory.
    """

    def __init__(self, dtype: Any, in_memory: int = IN_MEMORY) -> None:
        self.dtype = np.dtype(dtype)
        self.in_memory = in_memory
        self.size = 0  # numbers, not bytes
        self._blocks: list[Array] = []
        self._file: IO[bytes] | None = None

    def append(self, values: Array) -> None:
        """Add the values of an array of any shape, in C order."""
        block = np.array(values, self.dtype, order="C").reshape(-1)  # a copy: the caller's array may change
        self.size += block.size
        if self._file is None and self.size * self.dtype.itemsize > self.in_memory:
            self._file = tempfile.TemporaryFile()  # noqa: SIM115 - it is closed when these rows are dropped
            weakref.finalize(self, self._file.close)
            for earlier in self._blocks:
                self._file.write(earlier.data)
            self._blocks.clear()
        if self._file is None:
            self._blocks.append(block)
        else:
            self._file.write(block.data)

    def read(self) -> Array:
        """Return all values, of shape (size,); they outlive these rows."""
        if self._file is not None:
            self._file.flush()
            # The map has a descriptor of its own.
            return np.memmap(self._file, self.dtype, "r", shape=(self.size,))
        if len(self._blocks) != 1:
            self._blocks = [np.concatenate([np.empty(0, self.dtype), *self._blocks])]
        values = self._blocks[0].view()
        values.flags.writeable = False
        return values
