"""One batch of a source: what the network is fed, and all that is known about its samples."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from torch import Tensor

from torchviz_layers._common.arrays import Array
from torchviz_layers._common.nested import describe
from torchviz_layers.data.feeding import channel_axis
from torchviz_layers.exceptions import DataError

TARGET_KEYS = ("labels", "label", "targets", "target", "y")
ID_KEYS = ("ids", "id", "sample_ids", "idx")


@dataclass(frozen=True)
class Part:
    """A batch of `size` samples.

    `inputs` are what the network is fed. `targets`, `ids` and each column have one value a sample, or are None. `looks`
    are what is shown of the samples, a list or an array of `size`; None where that is the inputs themselves.
    `row_names` are those of the features, where the samples have some.
    """

    inputs: Any
    size: int
    targets: Any = None
    ids: Any = None
    columns: Mapping[str, Sequence[Any]] = field(default_factory=dict)
    looks: Any = None
    row_names: tuple[str, ...] = ()

    def take(self, rows: Sequence[int]) -> Part:
        """Return some samples of the batch, by their rows in it."""
        columns = {name: _take(values, rows, self.size) for name, values in self.columns.items()}
        inputs, targets, ids, looks = (
            _take(values, rows, self.size) for values in (self.inputs, self.targets, self.ids, self.looks)
        )
        return Part(inputs, len(rows), targets, ids, columns, looks, self.row_names)


def _take(values: Any, rows: Sequence[int], size: int) -> Any:
    """Return rows of whatever has `size` of them; mappings and tuples are entered, anything else stays whole."""
    if isinstance(values, Tensor | np.ndarray):
        return values[list(rows)] if values.ndim and len(values) == size else values
    if isinstance(values, Mapping):
        return {name: _take(part, rows, size) for name, part in values.items()}
    if isinstance(values, list | tuple):
        if len(values) == size and not are_columns(values, size):
            return [values[row] for row in rows]
        return type(values)([_take(part, rows, size) for part in values])
    return values


def are_columns(values: Sequence[Any], size: int) -> bool:
    """Whether each of these is an array with one row a sample: several inputs, rather than several samples."""
    arrays = [part for part in values if isinstance(part, Tensor | np.ndarray)]
    if len(arrays) < len(values) or any(part.ndim < 2 or len(part) != size for part in arrays):
        return False
    # Three pictures of three channels each are three samples.
    return not all(part.ndim == 3 and channel_axis(tuple(part.shape)) == 0 for part in arrays)


def look_of_inputs(inputs: Any, size: int) -> Any:
    """Return the part of a batch's inputs that is shown, one row a sample; None where there is no such part."""
    if isinstance(inputs, Tensor | np.ndarray):
        return inputs if inputs.ndim and len(inputs) == size else None
    if isinstance(inputs, Mapping):
        return _best(list(inputs.values()), size)
    if isinstance(inputs, list | tuple):
        if len(inputs) == size and not are_columns(inputs, size):
            return inputs
        return _best(list(inputs), size)
    return None


def _best(parts: list[Any], size: int) -> Array | Tensor | None:
    """Return the first array of floats or bytes with a row a sample, one with more axes before one with fewer.

    Whole numbers beside other inputs are tokens and masks, which nobody can read.
    """
    arrays = [part for part in parts if isinstance(part, Tensor | np.ndarray) and part.ndim > 1 and len(part) == size]
    readable = [part for part in arrays if "float" in str(part.dtype) or str(part.dtype).endswith("uint8")]
    return max(readable, key=lambda part: part.ndim, default=None)


def is_whole(values: Any) -> bool:
    """Whether a tensor or an array holds whole numbers of more than 8 bits: labels, ids or tokens."""
    kind = str(getattr(values, "dtype", "")).removeprefix("torch.")
    return kind.startswith(("int", "uint")) and kind not in ("int8", "uint8")


def check_inputs_and_target(parts: Sequence[Any], where: str, n_axes: int) -> None:
    """Raise `DataError` for (tokens, mask, ..., label): the mask would be taken for the target, the label for the id.

    `n_axes` is the number of axes of tokens, 1 of a sample and 2 of a batch.
    """
    if len(parts) < 3:
        return
    shapes = [tuple(getattr(part, "shape", ())) for part in parts[:2]]
    if len(shapes[0]) != n_axes or shapes[0] != shapes[1] or not all(map(is_whole, parts[:2])):
        return
    raise DataError(
        f"{where}: {describe(parts)[:120]} are several inputs of a network, it seems, and a tuple is read as (input, "
        'target, id); give dicts, {"input_ids": ids, "attention_mask": mask, "label": label} with the names of the '
        "network's arguments, or ((ids, mask), label)"
    )


def transformed(inputs: Any, transform: Callable[[Any], Any] | None) -> Any:
    """Return a batch's inputs after a model's own transform, whose errors name their shape."""
    if transform is None:
        return inputs
    try:
        return transform(inputs)
    except Exception as problem:  # the function is the caller's and may raise anything
        reason = str(problem).partition("\n")[0] or type(problem).__name__
        raise DataError(f"the transform fails on {describe(inputs)}: {reason}") from problem
