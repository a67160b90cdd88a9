"""Rows on their way from a CUDA card to memory: pinned buffers, filled while the card computes on."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import numpy.typing as npt
import torch
from torch import Tensor

from torchviz_layers._extract.table import Table


@dataclass
class _Slot:
    """The rows of one batch: pinned buffers, what to do once they are filled, and the event that says they are."""

    buffers: dict[str, Tensor] = field(default_factory=dict)
    waiting: list[Callable[[], object]] = field(default_factory=list)
    arrived: Any = None


def _pinned(shape: tuple[int, ...], dtype: torch.dtype) -> Tensor:
    return torch.empty(shape, dtype=dtype, pin_memory=True)


def _event(device: torch.device) -> Any:
    event = torch.cuda.Event()  # type: ignore[no-untyped-call]
    event.record(torch.cuda.current_stream(device))
    return event


@dataclass
class StagedTable:
    """A table that rows reach one batch later: two sets of pinned buffers, used in turn.

    A copy is queued on the stream that computes, right behind the layer that answered, so that no later operation can
    overwrite the rows before they are copied; the processor puts a batch away while the card computes the next one.
    """

    table: Table
    device: torch.device
    allocate: Callable[[tuple[int, ...], torch.dtype], Tensor] = _pinned
    record_event: Callable[[torch.device], Any] = _event
    _slots: tuple[_Slot, _Slot] = field(default_factory=lambda: (_Slot(), _Slot()))
    _batch: int = 0

    @property
    def _slot(self) -> _Slot:
        return self._slots[self._batch % 2]

    def begin(self, start: int, size: int) -> None:
        """Get ready for the rows of samples `start` to `start + size`; drop those of a batch that was broken off."""
        self._slot.waiting = [partial(self.table.begin, start, size)]

    def put(self, name: str, rows: Tensor | npt.NDArray[Any], *, layer: bool = True) -> None:
        """Queue the copy of a column's rows of the present batch."""
        if isinstance(rows, Tensor) and rows.device.type == self.device.type:
            rows = self._copy(f"{layer}{name}", rows)
        self._slot.waiting.append(partial(self.table.put, name, rows, layer=layer))

    def _copy(self, name: str, rows: Tensor) -> Tensor:
        buffers = self._slot.buffers
        buffer = buffers.get(name)
        if (
            buffer is None
            or buffer.dtype != rows.dtype
            or buffer.shape[1:] != rows.shape[1:]
            or len(buffer) < len(rows)
        ):
            buffer = buffers[name] = self.allocate(tuple(rows.shape), rows.dtype)
        return buffer[: len(rows)].copy_(rows, non_blocking=True)

    def commit(self) -> None:
        """End a batch, and put away the batch before."""
        self._slot.waiting.append(self.table.commit)
        self._slot.arrived = self.record_event(self.device)
        self._batch += 1
        self._put_away(self._slot)

    def settle(self) -> None:
        """Put away everything that is still on its way."""
        for turn in (self._batch, self._batch + 1):
            self._put_away(self._slots[turn % 2])

    def _put_away(self, slot: _Slot) -> None:
        if slot.arrived is not None:
            slot.arrived.synchronize()
            for put in slot.waiting:
                put()
            slot.waiting, slot.arrived = [], None
