"""The observer of a forward pass that writes rows from inside the hooks."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

import numpy.typing as npt
import torch
from torch import Tensor

from torchviz_layers._common.nested import given
from torchviz_layers.exceptions import CaptureError, UnknownLayerError
from torchviz_layers.extraction.options import ExtractOptions
from torchviz_layers.extraction.rows import RowReader
from torchviz_layers.extraction.stopping import StopRule
from torchviz_layers.hooks.batches import Batch
from torchviz_layers.hooks.listing import why_not_run
from torchviz_layers.hooks.modules import ModuleTree, Node, call_key
from torchviz_layers.hooks.selection import Selection


class RowBuffer(Protocol):
    """Gathers the rows of each batch: a `Table`, or a `StagedTable`, whose table gets them later."""

    def begin(self, start: int, size: int) -> None:
        """Begin a batch of samples `start` to `start + size`."""

    def put(self, name: str, rows: Tensor | npt.NDArray[Any], *, layer: bool = True) -> None:
        """Write a column's rows of the batch."""

    def drop(self, name: str, why: str) -> bool:
        """Leave a layer out from now on, with the rows that it has; return whether that can be done."""

    def commit(self) -> None:
        """End the batch."""

    def settle(self) -> None:
        """Wait until all rows are in the table."""


@dataclass
class RowWriter:
    """Writes the rows of every wanted call to a buffer."""

    tree: ModuleTree
    buffer: RowBuffer
    selection: Selection
    options: ExtractOptions
    reader: RowReader
    stop: StopRule
    batch: Batch | None = None
    start: int = 0
    """Row of the batch's first sample."""
    ran: set[Node] = field(default_factory=set)
    calls: Counter[Node] = field(default_factory=Counter)
    """How often each module ran in a forward pass."""
    without_rows: dict[str, str] = field(default_factory=dict)
    """Layers whose output has no row for each sample, with the reason."""
    not_run: dict[str, str] = field(default_factory=dict)
    """Chosen layers that did not run in the first batch, with the reason."""
    _entered: Counter[Node] = field(default_factory=Counter)
    """How often each module has begun to run in this forward pass."""
    _written: set[str] = field(default_factory=set)
    _shapes: dict[str, tuple[int, ...]] = field(default_factory=dict)
    """Of a row of each layer, as it came first."""

    def begin(self, arguments: Mapping[str, Any]) -> None:
        """Start a forward pass."""
        self.reader.begin(arguments, self.batch, self.start)
        self._entered.clear()
        self.stop.begin()

    def enter(self, node: Node, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> Tensor | CaptureError | None:
        """Return a copy of an input that may be wanted, made before the module can overwrite it.

        Whether it is wanted is known in `leave`, so an input without rows is an error only there.
        """
        self.stop.enter(node)
        self.ran.add(node)
        if self.options.record.at == "output" or not self.selection.may_want(node):
            return None
        call = self._entered[node]
        self._entered[node] += 1
        try:
            return self._rows(node, call, given(args, kwargs)).clone()
        except CaptureError as error:
            return error

    def leave(self, node: Node, call: int, output: Any, entered: Any, *, leaf: bool) -> None:
        """Write the rows of a call that is wanted."""
        self.calls[node] = call + 1
        # A layer that had no rows once is left out of all later batches.
        key = self.selection.key(node, call, leaf=leaf)
        if key is None or not self.options.record.wants_call(call) or key in self.without_rows:
            return
        key = self.options.record.record_name(key, call)
        try:
            if isinstance(entered, CaptureError):
                raise entered
            rows = self._rows(node, call, output) if self.options.record.at == "output" else entered
        except CaptureError as error:
            # A layer that has rows in other batches and returns None in this one: the rows are marked as missing.
            if output is None and key in self._written:
                return
            if node in self.selection.exact or key in self._written:
                raise
            self.without_rows[key] = str(error).removeprefix(f"{node.name!r}: ")
            return
        self._write(node, key, rows)
        self.stop.wanted()

    def _rows(self, node: Node, call: int, value: Any) -> Tensor:
        assert self.batch is not None
        return self.reader.rows(node, call, value, self.batch.size)

    def _write(self, node: Node, key: str, rows: Tensor) -> None:
        if self._leaves_out(node, key, tuple(rows.shape[1:])):
            return
        # A model may turn gradients on in its forward: the graph must not be kept.
        if rows.requires_grad:
            rows = rows.detach()
        if self.options.dtype is not None and rows.is_floating_point():
            rows = rows.to(self.options.dtype)
        # After the conversion, as large numbers become infinite in 16 bits.
        if self.options.refuse_nonfinite:
            self._refuse_nonfinite(key, rows)
        self.buffer.put(key, rows)
        self._written.add(key)

    def _leaves_out(self, node: Node, key: str, shape: tuple[int, ...]) -> bool:
        """Whether a layer is left out because its rows have another shape than before, although they are pooled.

        Scores of attention (n, heads, tokens, tokens), say, have as many features as the batch has tokens. A layer that
        was chosen by its name is an error.
        """
        before = self._shapes.setdefault(key, shape)
        may = node not in self.selection.exact and self.options.record.of_layer(node.name).pool != "none"
        if shape == before or self.options.pad or not may:
            return False
        why = f"its rows have shape {shape} at sample {self.start}, and {before} before"
        if not self.buffer.drop(key, why):
            return False
        self.without_rows[key] = why
        self._written.discard(key)
        return True

    def _refuse_nonfinite(self, key: str, rows: Tensor) -> None:
        finite = torch.isfinite(rows).reshape(len(rows), -1).all(1)  # (n,)
        if bool(finite.all()):
            return
        assert self.batch is not None
        assert self.batch.ids is not None
        bad = self.batch.ids[~finite.cpu().numpy()]
        raise CaptureError(
            f"{key!r}: NaN or infinity in the rows of {len(bad)} samples ({', '.join(map(str, bad[:8]))}); "
            "nonfinite='keep' keeps them"
        )

    @property
    def skipped(self) -> dict[str, str]:
        """Layers that were chosen and gave no rows, with the reason."""
        return self.without_rows | {name: why for name, why in self.not_run.items() if name not in self._written}

    def check_ran(self) -> None:
        """Raise `UnknownLayerError` for a layer chosen by itself that did not run; note the others."""
        for node, name in self.selection.nodes.items():
            if node not in self.ran:
                reason = why_not_run(node, self.ran, self.tree)
                if node in self.selection.exact:
                    raise UnknownLayerError(f"{name!r}: {reason}")
                self.not_run[name] = reason
                # It may run in a later batch, and then after the call at which a pass would be stopped.
                self.stop.enabled = False
                continue
            absent = self.selection.calls.get(node, set()) - set(range(self.calls[node]))
            if absent:
                raise UnknownLayerError(f"{call_key(name, min(absent))!r}: {name!r} ran {self.calls[node]} times")
        if not self._written and not self.reader.declined:
            listed = "; ".join(f"{name or '(model)'}: {reason}" for name, reason in self.skipped.items())
            raise CaptureError(f"no layer gave rows: {listed or 'none ran'}")
