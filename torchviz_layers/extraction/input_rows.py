"""The inputs themselves as a column beside the layers: a module that outputs what it is given, flattened."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from torchviz_layers._common.nested import tensors_in
from torchviz_layers.extraction.activations import Activations
from torchviz_layers.hooks.arguments import are_pictures

MOST_NUMBERS = 4096
"""Numbers of a sample up to which the inputs are kept as rows."""


@dataclass(frozen=True)
class NoRows:
    """What a layer outputs that has no rows for a reason of its own: it is listed in `Activations.skipped` with it."""

    reason: str


class InputRows(nn.Module):
    """Outputs its inputs as rows (n_samples, n_features) of float32: a layer called `input` for `extract`.

    In a mapping of models it gives the inputs of the pass as a column like any layer, in memory or in a store::

        captured = extract({"inputs": InputRows(), "net": model}, data)
        captured["inputs"]["input"]

    Of several inputs the first tensor of floats or bytes counts. Token ids, inputs of more than `most` numbers a sample
    and lists of samples of different shapes have no rows: the layer is in `Activations.skipped` then. It reads a list
    of tensors as the first other model of the mapping does, and options for layers do not apply to it. Rows
    of another length than the first ones are missing rows.

    Parameters
    ----------
    most : int
        Numbers of a sample up to which there are rows.

    Examples
    --------
    >>> InputRows().rows(torch.zeros(5, 3, 2, 2, dtype=torch.uint8)).shape
    torch.Size([5, 12])
    """

    def __init__(self, most: int = MOST_NUMBERS) -> None:
        super().__init__()
        self.most = most
        self.input = nn.Identity()
        self._shape: tuple[int, ...] | None = None

    def begin(self) -> None:
        """Forget the shape of the rows, before a pass over other data."""
        self._shape = None

    def forward(self, *args: Any, **kwargs: Any) -> None:
        """Pass the rows through the layer `input`; return nothing, as the inputs are no predictions."""
        rows = self.rows(*args, **kwargs)
        if isinstance(rows, Tensor):
            self._shape = self._shape or tuple(rows.shape[1:])
            # None where the layer had rows before marks them as missing: samples of another shape are no error.
            self.input(rows if tuple(rows.shape[1:]) == self._shape else None)
        else:
            self.input(None if self._shape else rows)

    def rows(self, *args: Any, **kwargs: Any) -> Tensor | NoRows:
        """Return the inputs as float32 of shape (n_samples, n_features), or why there are none."""
        values = next(_numbers((*args, *kwargs.values())), None)
        if values is None:
            return NoRows("the inputs hold no numbers (token ids, say)")
        if isinstance(values, list):
            if len({tuple(value.shape) for value in values}) > 1:
                return NoRows("the inputs are of different shapes")
            values = torch.stack(values)
        size = values[0].numel() if len(values) else 0
        if size > self.most:
            return NoRows(f"inputs of {size:,} numbers a sample, more than {self.most:,}")
        return values.reshape(len(values), -1).float()


def _numbers(parts: Any) -> Iterator[Tensor | list[Tensor]]:
    """Yield the tensors of floats or bytes among a model's arguments, and the lists of such tensors, one a sample."""
    for part in parts:
        tensors = [tensor for _, tensor in tensors_in(part) if _is_number(tensor)]
        shapes = {tuple(tensor.shape) for tensor in tensors}
        if isinstance(part, list) and tensors and (len(shapes) > 1 or are_pictures(tensors)):
            yield tensors
        else:
            yield from tensors


def _is_number(tensor: Tensor) -> bool:
    # Integers other than bytes are indices (of tokens, for example).
    return tensor.dim() > 0 and (tensor.is_floating_point() or tensor.dtype == torch.uint8)


def input_column(activations: Activations) -> tuple[Any, str]:
    """Return the rows that `InputRows` gave, an array of shape (n_samples, n_features), or None and why there are none.

    Examples
    --------
    >>> from torchviz_layers.extraction import extract
    >>> captured = extract({"inputs": InputRows(most=2)}, torch.ones(6, 3).split(2))
    >>> input_column(captured["inputs"])
    (None, 'inputs of 3 numbers a sample, more than 2')
    """
    if "input" not in activations.layers:
        return None, activations.skipped.get("input", "there are no inputs")
    if "input" in activations.missing:
        return None, "the inputs are of different shapes"
    return activations["input"], ""
