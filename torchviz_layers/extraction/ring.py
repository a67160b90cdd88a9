"""A bounded amount of pinned memory, which rows pass through on their way from a card."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

_FIRST_BYTES = 32 << 20
# PyTorch keeps the buffers that a larger one replaced for later use. All of them together stay under twice this.
_LARGEST_BYTES = 256 << 20
_ALIGNMENT = 64  # bytes; at least the size of an element of any type


def allocate_pinned(size: int) -> Tensor:
    """Return `size` bytes of pinned memory; of plain memory where the system has no more that can be pinned."""
    try:
        return torch.empty(size, dtype=torch.uint8, device="cpu", pin_memory=True)
    except RuntimeError:
        return torch.empty(size, dtype=torch.uint8, device="cpu")  # copies into it are correct, only slower


@dataclass
class PinnedRing:
    """A buffer whose bytes are reserved in turn and released in the same order.

    `_head` and `_tail` count all bytes that were ever reserved and released; modulo the size they are offsets in the
    buffer.
    """

    allocate: Callable[[int], Tensor] = allocate_pinned
    size: int = _FIRST_BYTES
    largest: int = _LARGEST_BYTES
    _buffer: Tensor | None = None
    _head: int = 0
    _tail: int = 0

    @property
    def can_grow(self) -> bool:
        """Whether the buffer is smaller than it may be."""
        return self.size < self.largest

    def reserve(self, rows: Tensor) -> tuple[Tensor, int] | None:
        """Return room for a copy of `rows` and what to release it with; None where there is no room now."""
        used = rows.nbytes
        taken = used + -used % _ALIGNMENT  # rounded up
        start = self._head
        offset = start % self.size
        if offset + taken > self.size:
            # It does not fit before the end of the buffer: the rest stays empty.
            start += self.size - offset
            offset = 0
        end = start + taken
        # The bytes from tail to head are in use; more than the whole buffer cannot be.
        if end - self._tail > self.size:
            return None
        if self._buffer is None:
            # A tensor that is made in inference mode could not be written to outside of it.
            with torch.inference_mode(mode=False):
                self._buffer = self.allocate(self.size)
        self._head = end
        room = self._buffer[offset : offset + used]
        return room.view(rows.dtype).view(rows.shape), end

    def release(self, end: int) -> None:
        """Let everything that was reserved up to `end` be reserved again."""
        self._tail = end
        if self._tail == self._head:
            self._head = self._tail = 0

    def grow(self, need: int) -> None:
        """Take a buffer of twice the size, or more if `need` bytes are more; everything must be released."""
        assert self._head == self._tail
        self._buffer = None  # freed before the larger one is allocated
        self.size = min(max(2 * self.size, need), self.largest)
