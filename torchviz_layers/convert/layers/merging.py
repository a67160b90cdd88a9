"""Layers with several inputs."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from torchviz_layers.convert.layers.base import KerasModule

Masks = tuple[Tensor | None, ...]


class Merge(KerasModule):
    """Combine inputs entry by entry: `add`, `subtract`, `multiply`, `average`, `maximum` or `minimum`.

    With `broadcast`, inputs of lower rank get axes behind the batch's, as in Keras's merging layers. Given `masks`, it
    multiplies as Keras 3 does: a masked step counts as 1, one that is masked in all inputs becomes 0.
    """

    def __init__(self, operation: str, broadcast: bool = False) -> None:
        super().__init__()
        self.operation = operation
        self.broadcast = broadcast

    def forward(self, *inputs: Tensor, masks: Masks = ()) -> Tensor:
        """Return the combined inputs."""
        known = [mask for mask in masks if mask is not None]
        if known:
            factors = list(inputs)
            for index, mask in enumerate(masks):
                if mask is not None:
                    factors[index] = torch.where(mask.unsqueeze(-1), inputs[index], 1.0)
            inputs = tuple(factors)
        rank = max(x.ndim for x in inputs) if self.broadcast else 0
        result = raised(inputs[0], rank)
        for x in inputs[1:]:
            result = MERGES[self.operation](result, raised(x, rank))
        if known and len(known) == len(inputs):
            result = result * torch.stack(known).any(0).unsqueeze(-1)
        return result / len(inputs) if self.operation == "average" else result


def raised(x: Tensor, rank: int) -> Tensor:
    """Return `x` with axes of size 1 behind the batch's, up to `rank`."""
    return x if x.ndim >= rank else x.reshape(x.shape[0], *(1,) * (rank - x.ndim), *x.shape[1:])


MERGES: dict[str, Callable[[Tensor, Tensor], Tensor]] = {
    "add": torch.add,
    "average": torch.add,
    "subtract": torch.sub,
    "multiply": torch.mul,
    "maximum": torch.maximum,
    "minimum": torch.minimum,
}


class Concatenate(KerasModule):
    """Join the inputs along an axis."""

    def __init__(self, axis: int = -1) -> None:
        super().__init__()
        self.axis = axis

    def forward(self, *inputs: Tensor) -> Tensor:
        """Return the joined inputs."""
        return torch.cat(inputs, self.axis)


def joined_mask(inputs: tuple[Tensor, ...], masks: Masks, axis: int, any_suffices: bool) -> Tensor:
    """Return the mask of joined inputs: an input without one has no masked steps.

    Where features are joined, a step stays if all inputs have it; with `any_suffices` (Keras 3), if one has.
    """
    parts = [
        torch.ones_like(x, dtype=torch.bool) if mask is None else mask.bool().unsqueeze(-1).expand_as(x)
        for x, mask in zip(inputs, masks, strict=True)
    ]
    joined = torch.cat(parts, axis)
    return joined.any(-1) if any_suffices else joined.all(-1)


class Dot(KerasModule):
    """The dot product of two inputs along an axis of each; the batch axis is shared."""

    def __init__(self, axes: tuple[int, int], normalize: bool = False) -> None:
        super().__init__()
        self.axes = axes
        self.normalize = normalize

    def forward(self, a: Tensor, b: Tensor) -> Tensor:
        """Return (n, other axes of a, other axes of b), or (n, 1) for two matrices."""
        first, second = self.axes
        if self.normalize:
            a = a * torch.rsqrt((a * a).sum(first, keepdim=True).clamp(min=1e-12))
            b = b * torch.rsqrt((b * b).sum(second, keepdim=True).clamp(min=1e-12))
        # (n, other axes of a, size) and (n, size, other axes of b), the other axes flattened for the product
        a, b = a.movedim(first, -1), b.movedim(second, 1)
        product = torch.bmm(a.reshape(a.shape[0], -1, a.shape[-1]), b.reshape(b.shape[0], b.shape[1], -1))
        shape = (*a.shape[:-1], *b.shape[2:])
        return product.reshape(shape if len(shape) > 1 else (a.shape[0], 1))


class ScaledAdd(KerasModule):
    """Add the second input times `scale` to the first (InceptionResNetV2)."""

    def __init__(self, scale: float) -> None:
        super().__init__()
        self.scale = scale

    def forward(self, x: Tensor, y: Tensor) -> Tensor:
        """Return x + scale * y."""
        return x + self.scale * y
