"""The listener that turns the answers of layers into rows."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, Protocol

import numpy.typing as npt
import torch
from torch import Tensor
from torch.nn.utils.rnn import PackedSequence, pad_packed_sequence

from torchviz_layers._common.nested import OneSelect, choose, describe, given, only_tensor, tensors_in
from torchviz_layers.exceptions import CaptureError, UnknownLayerError
from torchviz_layers.extraction.axes import SampleAxes, with_axis
from torchviz_layers.extraction.options import Options
from torchviz_layers.extraction.stopping import StopRule
from torchviz_layers.hooks.batches import Batch
from torchviz_layers.hooks.listing import why_silent
from torchviz_layers.hooks.masks import TOKEN_POOLS, TokenMasks
from torchviz_layers.hooks.modules import ModuleTree, Node, call_key
from torchviz_layers.hooks.pooling import OnePool, apply_pool, for_layer, pool_of
from torchviz_layers.hooks.selection import Selection
from torchviz_layers.hooks.verify import CloneOracle, disagreement, first_difference


class Sink(Protocol):
    """Where rows go: a table, or one that they reach later."""

    def begin(self, start: int, size: int) -> None:
        """Get ready for the rows of a batch."""

    def put(self, name: str, rows: Tensor | npt.NDArray[Any], *, layer: bool = True) -> None:
        """Write a column's rows of the batch."""

    def commit(self) -> None:
        """End the batch."""

    def settle(self) -> None:
        """Wait for rows that are on their way."""


@dataclass(frozen=True, slots=True)
class _Plan:
    """What the options say about one module."""

    select: OneSelect | None
    pool: OnePool
    axis: int | None
    """The axis of the samples, if it was said."""
    time_major: bool


@dataclass
class RowWriter:
    """Passes the rows of every wanted call on to the sink, from inside the hook."""

    tree: ModuleTree
    sink: Sink
    selection: Selection
    options: Options
    stop: StopRule
    oracle: CloneOracle | None = None
    """Is held beside the first batch."""
    batch: Batch | None = None
    start: int = 0
    """Row of the batch's first sample."""
    ran: set[Node] = field(default_factory=set)
    calls: Counter[Node] = field(default_factory=Counter)
    """How often each module ran in a forward pass."""
    skipped: dict[str, str] = field(default_factory=dict)
    """Layers whose answer is no rows, with the reason."""
    silent: dict[str, str] = field(default_factory=dict)
    """Chosen layers that the first batch did not reach, with the reason."""
    axes: SampleAxes = field(default_factory=SampleAxes)
    _masks: TokenMasks = field(default_factory=TokenMasks)
    _plans: dict[Node, _Plan] = field(default_factory=dict)
    _checked: dict[str, tuple[Node, int, Tensor]] | None = None
    _entered: Counter[Node] = field(default_factory=Counter)
    """How often each module has begun to run in this forward pass."""
    _wrote: set[str] = field(default_factory=set)

    def begin(self, arguments: Mapping[str, Any]) -> None:
        """Start a forward pass."""
        self._masks.begin(arguments, self._explicit_mask())
        self._entered.clear()
        self.stop.begin()

    def _explicit_mask(self) -> Tensor | None:
        """Return the rows of `mask=` that belong to the batch."""
        mask = self.options.mask
        if mask is None or self.batch is None:
            return None
        stop = self.start + self.batch.size
        rows = mask[self.start : stop] if isinstance(mask, Tensor) else mask(self.batch.inputs)
        if not isinstance(rows, Tensor) or rows.dim() != 2 or len(rows) != self.batch.size:
            raise CaptureError(
                f"mask=: {describe(rows)} for samples {self.start} to {stop - 1}; shape ({self.batch.size}, tokens) "
                "expected, true where a token counts"
            )
        return rows

    def enter(self, node: Node, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> Any:
        """Copy an input that may be wanted before the module can overwrite it."""
        self.stop.enter(node)
        self.ran.add(node)
        if self.options.at == "output" or not self.selection.may_want(node):
            return None
        call = self._entered[node]
        self._entered[node] += 1
        try:
            return self.rows(node, call, given(args, kwargs)).clone()
        except CaptureError as error:
            return error

    def leave(self, node: Node, call: int, output: Any, entered: Any, *, leaf: bool) -> None:
        """Write the rows of a call that is wanted."""
        self.calls[node] = call + 1
        key = self.selection.key(node, call, leaf=leaf)
        if key is None or (self.options.calls == "first" and call > 0) or key in self.skipped:
            return
        if self.options.calls == "last" and call > 0:
            key = key.removesuffix(f":{call}")
        try:
            if isinstance(entered, CaptureError):
                raise entered
            rows = self.rows(node, call, output) if self.options.at == "output" else entered
        except CaptureError as error:
            if output is None and key in self._wrote:
                return  # nothing this time: missing rows
            if node in self.selection.exact or key in self._wrote:
                raise
            self.skipped[key] = str(error).removeprefix(f"{node.name!r}: ")
            return
        self._write(node, call, key, rows)
        self.stop.wanted()

    def _write(self, node: Node, call: int, key: str, rows: Tensor) -> None:
        if rows.requires_grad:  # of a model that turns gradients on: its graph must not come along
            rows = rows.detach()
        if self.options.dtype is not None and rows.is_floating_point():
            rows = rows.to(self.options.dtype)
        if self.options.refuse:  # what became too large for the type, too
            self._refuse_nonfinite(key, rows)
        if self._checked is not None:
            self._checked[key] = (node, call, rows.clone())
        self.sink.put(key, rows)
        self._wrote.add(key)

    def _refuse_nonfinite(self, key: str, rows: Tensor) -> None:
        finite = torch.isfinite(rows).reshape(len(rows), -1).all(1)
        if not bool(finite.all()):
            assert self.batch is not None
            assert self.batch.ids is not None
            bad = self.batch.ids[~finite.cpu().numpy()]
            raise CaptureError(
                f"{key!r}: NaN or infinity in the rows of {len(bad)} samples ({', '.join(map(str, bad[:8]))}); "
                "nonfinite='keep' keeps them"
            )

    @contextmanager
    def verified(self) -> Iterator[None]:
        """Hold the first batch's rows beside what hooks that clone everything see in the same forward pass."""
        oracle, self.oracle = self.oracle, None
        if oracle is None:
            yield
            return
        self._checked = {}
        oracle.open()
        try:
            yield
        except BaseException:
            # Where it was too large for the card, the oracle is held beside the first part that is not.
            oracle.outputs.clear()
            self.oracle, self._checked = oracle, None
            raise
        finally:
            oracle.close()
        calls, checked, self._checked = oracle.calls(), self._checked, None
        for key, (node, call, rows) in checked.items():
            outputs = oracle.outputs[node]
            truth = outputs[-1] if self.options.calls == "last" else calls[key][1]
            expected = self.rows(node, call, truth)
            if self.options.dtype is not None and expected.is_floating_point():
                expected = expected.to(self.options.dtype)
            if how := first_difference(rows, expected):
                raise disagreement(key, how)

    @property
    def left_out(self) -> dict[str, str]:
        """Layers that were asked for and gave no rows, with the reason."""
        return self.skipped | {name: why for name, why in self.silent.items() if name not in self._wrote}

    def check_ran(self) -> None:
        """Raise `UnknownLayerError` for a layer chosen by itself that did not run; note the others."""
        for node, name in self.selection.nodes.items():
            if node not in self.ran:
                reason = why_silent(node, self.ran, self.tree)
                if node in self.selection.exact:
                    raise UnknownLayerError(f"{name!r}: {reason}")
                self.silent[name] = reason
                self.stop.enabled = False  # it may still run
            elif absent := sorted(self.selection.calls.get(node, set()) - set(range(self.calls[node]))):
                raise UnknownLayerError(f"{call_key(name, absent[0])!r}: {name!r} ran {self.calls[node]} times")
        if not self._wrote:
            listed = "; ".join(f"{name or '(model)'}: {reason}" for name, reason in self.left_out.items())
            raise CaptureError(f"no layer gave rows: {listed or 'none ran'}")

    def rows(self, node: Node, call: int, value: Any) -> Tensor:
        """Return the rows of a value, one a sample, pooled; raise `CaptureError` if they are not one a sample."""
        assert self.batch is not None
        size, plan = self.batch.size, self._plan(node)
        rows, axis = self._read(node, value)
        if axis is None:
            rows = self.axes.unsqueezed(node, call, rows) if size == 1 else rows
            axis = self.axes.find(node, call, tuple(rows.shape), size, time_major=plan.time_major)
        if axis and rows.dim() > axis:
            rows = rows.movedim(axis, 0)
        if rows.dim() == 0 or rows.shape[0] != size:
            raise CaptureError(
                f"{node.name!r}: its {self.options.at} of shape {tuple(rows.shape)} has no row for each of {size} "
                "samples; batch_dim= says which axis they are on, a function as select= can make rows of it"
            )
        if plan.pool == "none":
            return rows
        mask = None
        if plan.pool in TOKEN_POOLS:
            own = _mask_of_lengths(value if plan.select is None else choose(value, plan.select))
            mask = own if own is not None else self._masks.of(rows, node.name, str(plan.pool))
        pooled = apply_pool(plan.pool, rows, mask)
        if not isinstance(pooled, Tensor) or pooled.dim() == 0 or pooled.shape[0] != size:
            raise CaptureError(
                f"{node.name!r}: pool= made {describe(pooled)} of {size} rows; it must keep one a sample"
            )
        return pooled

    def tensor(self, node: Node, value: Any) -> Tensor:
        """Return the one tensor that a value is or `select` finds in it; raise `CaptureError` if there are several."""
        return self._read(node, value)[0]

    def _read(self, node: Node, value: Any) -> tuple[Tensor, int | None]:
        """Return the one tensor of a value, and the axis of its samples if that is known from its kind or an option."""
        plan = self._plan(node)
        axis = plan.axis
        if plan.select is not None:
            value = choose(value, plan.select)
        if isinstance(value, PackedSequence):
            return pad_packed_sequence(value, batch_first=True)[0], 0
        rows = value if isinstance(value, Tensor) else only_tensor(value, node.name, self.options.at)
        if rows.is_nested:
            return rows.to_padded_tensor(0.0), 0
        if rows.layout is not torch.strided:
            rows = rows.to_dense()
        elif rows.is_quantized:
            rows = rows.dequantize()
        return rows, axis

    def _plan(self, node: Node) -> _Plan:
        """Return what the options say about a module, looked up once."""
        if node in self._plans:
            return self._plans[node]
        select, axis = self.options.select, self.options.batch_dim
        plan = self._plans[node] = _Plan(
            for_layer(select, node.name, None),
            pool_of(self.options.pool, node.name),
            for_layer(axis, node.name, None),
            self._time_major(node),
        )
        return plan

    def _time_major(self, node: Node) -> bool:
        """Whether the nearest module around `node` that has a `batch_first` says no."""
        name = node.name
        while True:
            around = self.tree.by_name.get(name)
            module = None if around is None else around.module
            for holder in (module, getattr(module, "self_attn", None)):  # where TransformerEncoderLayer has it
                if isinstance(flag := getattr(holder, "batch_first", None), bool):
                    return not flag
            if not name:
                return False
            name = name.rpartition(".")[0]


def _mask_of_lengths(value: Any) -> Tensor | None:
    """Return which tokens are there in a value that knows its samples' lengths: packed, or nested."""
    if isinstance(value, PackedSequence):
        lengths = pad_packed_sequence(value, batch_first=True)[1]
    elif isinstance(value, Tensor) and value.is_nested:
        lengths = torch.tensor([sample.shape[0] for sample in value.unbind()])
    else:
        return None
    return torch.arange(int(lengths.max())) < lengths[:, None]


def prediction_rows(output: Any, size: int, before: tuple[int, ...] = (), other: int = 0) -> Tensor | None:
    """Return a model's final output as one tensor with a row a sample, if it is or holds one.

    `before` is its shape for `other` samples, where that is known.
    """
    if isinstance(output, Mapping) and isinstance(output.get("logits"), Tensor):
        output = output["logits"]
    found = [tensor for _, tensor in tensors_in(output)]
    if len(found) != 1 or found[0].is_nested:
        return None
    rows = with_axis(found[0], before, other) if size == 1 else found[0]
    return rows if rows.dim() > 0 and rows.shape[0] == size else None
