"""What a layer outputs (or receives) as rows: one tensor whose first axis is that of the samples, pooled."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor
from torch.nn.utils.rnn import PackedSequence, pad_packed_sequence

from torchviz_layers._common.nested import describe, only_tensor, tensors_in
from torchviz_layers.exceptions import CaptureError
from torchviz_layers.extraction.input_rows import NoRows
from torchviz_layers.extraction.sample_axes import SampleAxes, restore_axis
from torchviz_layers.hooks.batches import Batch
from torchviz_layers.hooks.masks import TokenMasks
from torchviz_layers.hooks.modules import ModuleTree, Node
from torchviz_layers.hooks.record_options import RecordOptions


@dataclass
class RowReader:
    """Makes rows of the values of one forward pass after another."""

    tree: ModuleTree
    options: RecordOptions
    axes: SampleAxes = field(default_factory=SampleAxes)
    declined: bool = False
    """A layer has said that it has no rows."""
    _masks: TokenMasks = field(default_factory=TokenMasks)
    _time_major: dict[Node, bool] = field(default_factory=dict)

    def begin(self, arguments: Mapping[str, Any], batch: Batch | None, start: int) -> None:
        """Read the masks of a forward pass over `batch`, whose first sample is `start`."""
        self._masks.begin(arguments, None if batch is None else self._explicit_mask(batch, start))

    def _explicit_mask(self, batch: Batch, start: int) -> Tensor | None:
        """Return the rows of `mask=` that belong to the batch."""
        mask = self.options.mask
        if mask is None:
            return None
        stop = start + batch.size
        rows = mask[start:stop] if isinstance(mask, Tensor) else mask(batch.inputs)
        if not isinstance(rows, Tensor) or rows.dim() != 2 or len(rows) != batch.size:
            raise CaptureError(
                f"mask=: {describe(rows)} for samples {start} to {stop - 1}; shape ({batch.size}, tokens) "
                "expected, true where a token counts"
            )
        return rows

    def rows(self, node: Node, call: int, value: Any, size: int) -> Tensor:
        """Return the pooled rows of a value, (size, ...); raise `CaptureError` if it has no row for each sample."""
        if isinstance(value, NoRows):
            self.declined = True
            raise CaptureError(value.reason)
        options = self.options.of_layer(node.name)
        value = options.selected(value)
        tensor, axis = self._tensor(node, value)
        if axis is None:
            # A batch of one sample may have lost its axis to `squeeze()`.
            if size == 1:
                tensor = self.axes.unsqueezed(node, call, tensor)
            axis = self.axes.find(node, call, tuple(tensor.shape), size, time_major=self._is_time_major(node))
        # Time-major modules output (steps, samples, features), for example: samples first.
        rows = tensor.movedim(axis, 0) if axis and tensor.dim() > axis else tensor
        if rows.dim() == 0 or rows.shape[0] != size:
            raise CaptureError(
                f"{node.name!r}: its {self.options.at} of shape {tuple(rows.shape)} has no row for each of {size} "
                "samples; batch_dim= says which axis they are on, a function as select= can make rows of it"
            )
        if options.pool == "none":
            return rows
        pooled = options.pooled(rows, self._masks, _mask_of_lengths(value))
        if not isinstance(pooled, Tensor) or pooled.dim() == 0 or pooled.shape[0] != size:
            raise CaptureError(
                f"{node.name!r}: pool= made {describe(pooled)} of {size} rows; it must keep one a sample"
            )
        return pooled

    def tensor(self, node: Node, value: Any) -> Tensor:
        """Return the one tensor that a value is or `select` finds in it; raise `CaptureError` if there are several."""
        return self._tensor(node, self.options.of_layer(node.name).selected(value))[0]

    def _tensor(self, node: Node, value: Any) -> tuple[Tensor, int | None]:
        """Return the one tensor of a selected value, dense, and the axis of its samples if no search is needed."""
        # Packed and nested values know their samples: padded, these come first.
        if isinstance(value, PackedSequence):
            return pad_packed_sequence(value, batch_first=True)[0], 0
        tensor = value if isinstance(value, Tensor) else only_tensor(value, node.name, self.options.at)
        if tensor.is_nested:
            return tensor.to_padded_tensor(0.0), 0
        if tensor.layout is not torch.strided:
            tensor = tensor.to_dense()
        elif tensor.is_quantized:
            tensor = tensor.dequantize()
        return tensor, self.options.of_layer(node.name).batch_dim

    def _is_time_major(self, node: Node) -> bool:
        """Whether the nearest module around `node` that has a `batch_first` says no."""
        if node not in self._time_major:
            self._time_major[node] = not _is_batch_first(self.tree, node.name)
        return self._time_major[node]


def _is_batch_first(tree: ModuleTree, name: str) -> bool:
    while True:
        around = tree.by_name.get(name)
        module = None if around is None else around.module
        # TransformerEncoderLayer has the flag in its attention, recurrent modules have it themselves.
        for owner in (module, getattr(module, "self_attn", None)):
            flag = getattr(owner, "batch_first", None)
            if isinstance(flag, bool):
                return flag
        if not name:
            return True
        name = name.rpartition(".")[0]


def _mask_of_lengths(value: Any) -> Tensor | None:
    """Return the mask (n, tokens) of a value that knows its samples' lengths: packed, or nested. None for others."""
    if isinstance(value, PackedSequence):
        lengths = pad_packed_sequence(value, batch_first=True)[1]
    elif isinstance(value, Tensor) and value.is_nested:
        lengths = torch.tensor([sample.shape[0] for sample in value.unbind()])
    else:
        return None
    return torch.arange(int(lengths.max())) < lengths[:, None]


def prediction_rows(output: Any, size: int, before: tuple[int, ...] = (), other: int = 0) -> Tensor | None:
    """Return a model's final output as one tensor with a row a sample, or None if it is none and contains none.

    `before` is its shape for `other` samples, where that is known.
    """
    # Hugging Face: logits beside hidden states, attentions and caches.
    if isinstance(output, Mapping) and isinstance(output.get("logits"), Tensor):
        output = output["logits"]
    found = [tensor for _, tensor in tensors_in(output)]
    if len(found) != 1 or found[0].is_nested:
        return None
    rows = restore_axis(found[0], before, other) if size == 1 else found[0]
    return rows if rows.dim() > 0 and rows.shape[0] == size else None
