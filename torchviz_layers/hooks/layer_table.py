"""The table that `list_layers` returns."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import torch

from torchviz_layers._common.memory import format_bytes

# Kinds whose output is their input in eval mode, at most in another shape.
_PASS_THROUGH = (
    "Dropout",
    "Identity",
    "Flatten",
    "Unflatten",
    "Reshape",
    "Permute",
    "Input",
    "StochasticDepth",
    "DropPath",
)


@dataclass(frozen=True)
class LayerInfo:
    """One layer: its kind, its output and how often it runs.

    `output_shape` includes the axis of the samples; it is None for a layer whose output is not one tensor (`structure`
    describes it) or that did not run (`reason` says why). `bytes_per_sample` is the sum over its calls. `per_sample`
    says whether an axis of its output is as long as the batch, whatever the batch size; None if that is not known.
    """

    name: str
    kind: str
    output_shape: tuple[int, ...] | None = None
    dtype: torch.dtype | None = None
    bytes_per_sample: int | None = None
    calls: int | None = None
    reason: str = ""
    structure: str = ""
    per_sample: bool | None = None

    @property
    def computes(self) -> bool:
        """Whether its output is more than its input in another shape."""
        return not self.kind.startswith(_PASS_THROUGH) and not self.reason


class LayerTable(Sequence[LayerInfo]):
    """The layers of a model in call order; prints as a table."""

    def __init__(self, model: str, layers: Sequence[LayerInfo]) -> None:
        self.model, self._layers = model, tuple(layers)

    def __len__(self) -> int:
        return len(self._layers)

    def __getitem__(self, index: Any) -> Any:
        return self._layers[index]

    def __iter__(self) -> Iterator[LayerInfo]:
        return iter(self._layers)

    @property
    def names(self) -> list[str]:
        """Names of the layers that ran, or that may run."""
        return [layer.name for layer in self if not layer.reason]

    @property
    def bytes_per_sample(self) -> int | None:
        """Bytes that one sample takes over all layers of which the size is known; None if it is of none."""
        sizes = [layer.bytes_per_sample for layer in self if layer.bytes_per_sample is not None]
        return sum(sizes) if sizes else None

    def __repr__(self) -> str:
        size = "" if self.bytes_per_sample is None else f", {format_bytes(self.bytes_per_sample)} a sample"
        head = ("layer", "kind", "output", "dtype", "bytes/sample", "calls")
        rows = [head, *(_cells(layer) for layer in self)]
        widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
        lines = [_line(row, widths) for row in rows]
        return "\n".join([f"{self.model}: {len(self)} layers{size}", lines[0], "-" * len(lines[0]), *lines[1:]])


def _line(cells: Sequence[str], widths: Sequence[int]) -> str:
    padded = [cell.ljust(width) for cell, width in zip(cells, widths, strict=True)]
    return "  ".join(padded).rstrip()


def _cells(layer: LayerInfo) -> tuple[str, ...]:
    """Return the cells of a layer's line; for one that did not run, the reason instead of its output."""
    output = layer.structure
    if layer.output_shape is not None:
        output = " x ".join(map(str, layer.output_shape))
    if layer.per_sample is False:
        output += " (no axis of samples)"
    dtype = "" if layer.dtype is None else str(layer.dtype).removeprefix("torch.")
    size = "" if layer.bytes_per_sample is None else f"{layer.bytes_per_sample:,}"
    calls = "" if layer.calls is None else str(layer.calls)
    return (layer.name or "(model)", layer.kind, layer.reason or output, dtype, size, calls)
