"""The listener that turns the answers of layers into rows."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor
from torch.nn.utils.rnn import PackedSequence, pad_packed_sequence

from torchviz_layers._modules import ModuleTree, Node, Selection
from torchviz_layers._outputs import OneSelect, choose, only_tensor
from torchviz_layers._pooling import Pool, apply_pool, for_layer, token_mask
from torchviz_layers._table import Table
from torchviz_layers.exceptions import CaptureError


class StopForward(BaseException):
    """Ends a forward pass after the last call that is wanted; no `except Exception` of a model can swallow it."""


@dataclass
class StopRule:
    """Learns after which module call nothing wanted comes any more, from two whole forward passes that agree."""

    enabled: bool
    _known: list[Node] = field(default_factory=list)
    _stop_at: int = 0
    _now: list[Node] = field(default_factory=list)
    _wanted_until: int = 0
    _agreed: int = 0

    def begin(self) -> None:
        """Start a forward pass."""
        self._now, self._wanted_until = [], 0

    def enter(self, node: Node) -> None:
        """Raise `StopForward` if all that is wanted has been seen, and the model does now what it did before."""
        if not self.enabled:
            return
        at = len(self._now)
        self._now.append(node)
        if self._agreed < 2 or at > self._stop_at:
            return
        if self._known[at] is not node:
            self.enabled = False  # the calls vary: what comes later cannot be known
        elif at == self._stop_at:
            raise StopForward

    def wanted(self) -> None:
        """Note that something wanted was just seen."""
        self._wanted_until = len(self._now)

    def end(self) -> None:
        """End a whole forward pass."""
        if not self.enabled or self._agreed >= 2:
            return
        if self._agreed == 1 and (self._now, self._wanted_until) != (self._known, self._stop_at):
            self.enabled = False
        self._known, self._stop_at, self._agreed = self._now, self._wanted_until, self._agreed + 1
        self.enabled &= self._stop_at < len(self._known)


@dataclass
class RowWriter:
    """Writes the rows of every wanted call into the table, from inside the hook."""

    tree: ModuleTree
    table: Table
    selection: Selection
    at: str
    calls: str
    pool: Pool
    select: OneSelect | Mapping[str, OneSelect] | None
    batch_dim: int | Mapping[str, int] | None
    dtype: torch.dtype | None
    refuse: bool
    stop: StopRule
    size: int = 0
    ids: Any = None
    ran: set[Node] = field(default_factory=set)
    skipped: dict[str, str] = field(default_factory=dict)
    _mask: Tensor | None = None

    def begin(self, kwargs: Mapping[str, Any]) -> None:
        """Start a forward pass."""
        self._mask = token_mask(kwargs)
        self.stop.begin()

    def enter(self, node: Node, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> Any:
        """Copy an input that may be wanted before the module can overwrite it."""
        self.stop.enter(node)
        self.ran.add(node)
        if self.at == "output" or (node not in self.selection.nodes and (node.hidden or not self.selection.leaves)):
            return None
        given: Any = (*args, dict(kwargs)) if kwargs else args
        try:
            rows = self.rows(node, args[0] if len(args) == 1 and not kwargs else given)
        except CaptureError as error:
            return error
        return rows.clone()

    def leave(self, node: Node, call: int, output: Any, entered: Any, *, leaf: bool) -> None:
        """Write the rows of a call that is wanted."""
        key = self.selection.key(node, call, leaf=leaf)
        if key is None or (self.calls == "first" and call > 0) or key in self.skipped:
            return
        if self.calls == "last":
            key = key.removesuffix(f":{call}") if call else key
        try:
            if isinstance(entered, CaptureError):
                raise entered
            rows = self.rows(node, output) if self.at == "output" else entered
        except CaptureError as error:
            if node in self.selection.exact or not (self.selection.leaves or node in self.selection.nodes):
                raise
            self.skipped[key] = str(error).removeprefix(f"{node.name!r}: ")
            return
        self.write(key, rows)
        self.stop.wanted()

    def write(self, key: str, rows: Tensor) -> None:
        """Write rows of a layer, in the wanted type."""
        if self.refuse and not bool(torch.isfinite(rows).all()):
            bad = ~torch.isfinite(rows).reshape(len(rows), -1).all(1).cpu().numpy()
            raise CaptureError(
                f"{key!r}: NaN or infinity in the rows of samples {self.ids[bad][:8].tolist()}; nonfinite='keep' keeps them"
            )
        if self.dtype is not None and rows.is_floating_point():
            rows = rows.to(self.dtype)
        self.table.put(key, rows)

    def rows(self, node: Node, value: Any) -> Tensor:
        """Return the rows of a value, one a sample, pooled; raise `CaptureError` if they are not one a sample."""
        value = choose(value, for_layer(self.select, node.name, None))
        if isinstance(value, PackedSequence):
            tensor, axis = pad_packed_sequence(value, batch_first=True)[0], 0
        else:
            tensor = only_tensor(value, node.name, self.at)
            axis = self._axis(node, tensor)
        if tensor.is_nested:
            tensor = tensor.to_padded_tensor(0.0)
        if axis and tensor.dim() > axis:
            tensor = tensor.movedim(axis, 0)
        if tensor.dim() == 0 or tensor.shape[0] != self.size:
            raise CaptureError(
                f"{node.name!r}: its {self.at} of shape {tuple(tensor.shape)} is not one row for each of {self.size} "
                "samples; batch_dim= says which axis the samples are on, select= or pool= (functions) can make rows of it"
            )
        return apply_pool(for_layer(self.pool, node.name, "none"), tensor, self._mask)

    def _axis(self, node: Node, tensor: Tensor) -> int:
        given = for_layer(self.batch_dim, node.name, None)
        if given is not None:
            return given
        if tensor.is_nested or tensor.dim() < 3 or tensor.shape[1] != self.size:
            return 0
        return int(self._time_major(node))

    def _time_major(self, node: Node) -> bool:
        """Whether the nearest module around `node` that has a `batch_first` says no."""
        name = node.name
        while True:
            around = self.tree.by_name.get(name)
            flag = None if around is None else getattr(around.module, "batch_first", None)
            if isinstance(flag, bool):
                return not flag
            if not name:
                return False
            name = name.rpartition(".")[0]
