"""The axis of the samples, decided by two forward passes with different numbers of samples.

One shape cannot tell: where a batch has as many samples as a sequence has steps, a table of positions (steps, features)
looks like a row a sample. So a short second pass runs first, and an axis is that of the samples if its extent is the
number of samples in both passes.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from torch import Tensor

from torchviz_layers._common.nested import given
from torchviz_layers.exceptions import CaptureError
from torchviz_layers.hooks.axes import OTHER_SIZES, without_trace
from torchviz_layers.hooks.hooks import ForwardTap
from torchviz_layers.hooks.modules import ModuleTree, Node

_MOST_NAMED = 5


@dataclass
class OtherPass:
    """The shape of what every call output (or was given) in a pass with another number of samples, `size`."""

    size: int
    at: str
    shapes: dict[tuple[Node, int], tuple[int, ...]] = field(default_factory=dict)
    """By module and call; an empty shape where there was no single tensor."""


@dataclass
class ShapeRecorder:
    """Fills `found` in a forward pass."""

    found: OtherPass
    read: Callable[[Node, Any], Tensor]
    """Returns the tensor that a value is or holds."""
    _entered: Counter[Node] = field(default_factory=Counter)

    def begin(self, arguments: Mapping[str, Any]) -> None:
        """Start."""

    def enter(self, node: Node, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> None:
        """Record the shape of an input."""
        if self.found.at == "input":
            self._record(node, self._entered[node], given(args, kwargs))
            self._entered[node] += 1

    def leave(self, node: Node, call: int, output: Any, entered: Any, *, leaf: bool) -> None:  # noqa: ARG002
        """Record the shape of an output."""
        if self.found.at == "output":
            self._record(node, call, output)

    def _record(self, node: Node, call: int, value: Any) -> None:
        try:
            self.found.shapes[node, call] = tuple(self.read(node, value).shape)
        except CaptureError:
            self.found.shapes[node, call] = ()


@dataclass
class SampleAxes:
    """Finds the axis of the samples in what a call outputs."""

    other: OtherPass | None = None
    """A pass with another number of samples; None where none succeeded."""
    failure: str = ""
    """Why none succeeded."""
    _known: dict[tuple[Node, int], int] = field(default_factory=dict)
    _sizes: dict[tuple[Node, int], int] = field(default_factory=dict)
    """Calls that were seen with this number of samples only."""

    def find(self, node: Node, call: int, shape: tuple[int, ...], size: int, *, time_major: bool) -> int | None:
        """Return the axis of the samples, or None if no axis has their number.

        `time_major` says that axis 1 is the likelier one, if there are features behind it. An axis that has their
        number in this pass alone raises `CaptureError`.
        """
        if (known := self._known.get((node, call))) is not None:
            return known
        likely = (1, 0) if time_major and len(shape) > 2 else (0,)
        fitting = [axis for axis in likely if axis < len(shape) and shape[axis] == size]
        if not fitting:
            return None
        if self.other is None or self.other.size == size or (node, call) not in self.other.shapes:
            return self._undecided(node, call, fitting[0], size)
        before = self.other.shapes[node, call]
        following = [axis for axis in fitting if axis < len(before) and before[axis] == self.other.size]
        if not following:
            raise self._no_axis(node, shape, size, before)
        self._known[node, call] = following[0]
        return following[0]

    def unsqueezed(self, node: Node, call: int, rows: Tensor) -> Tensor:
        """Return what a call gave for one sample, with an axis of samples where `squeeze()` took that away too."""
        before = () if self.other is None else self.other.shapes.get((node, call), ())
        return with_axis(rows, before, 0 if self.other is None else self.other.size)

    def _undecided(self, node: Node, call: int, axis: int, size: int) -> int:
        if self._sizes.setdefault((node, call), size) != size:  # as many rows as samples, twice: that is no accident
            self._known[node, call] = axis
            del self._sizes[node, call]
        return axis

    def _no_axis(self, node: Node, shape: tuple[int, ...], size: int, before: tuple[int, ...]) -> CaptureError:
        assert self.other is not None
        pairs = list(zip(shape, before, strict=False)) if len(shape) == len(before) else []
        axes = [axis for axis, pair in enumerate(pairs) if pair == (size, self.other.size)]
        way_out = f"its axis {axes[0]} has: pass batch_dim={axes[0]}" if axes else "leave it out of layers="
        return CaptureError(
            f"{node.name!r}: its {self.other.at} has no row for each sample, though one axis is as long as the batch: "
            f"of shape {shape} for {size} samples and {before or 'no single tensor'} for {self.other.size}; {way_out}"
        )

    def notice(self) -> str | None:
        """Return what to say of calls whose axis could not be confirmed, if there are any."""
        if not self._sizes:
            return None
        names = list(dict.fromkeys(node.name or "(model)" for node, _ in self._sizes))
        shown = ", ".join(names[:_MOST_NAMED]) + (", ..." if len(names) > _MOST_NAMED else "")
        sizes = " or ".join(map(str, sorted(set(self._sizes.values()))))
        why = f" (a pass with another number failed: {self.failure})" if self.failure else ""
        return (
            f"layers seen with {sizes} samples a batch only{why}, so that their first axis may be another one than "
            f"that of the samples: {shown}; batch_dim= says which it is, batches of two sizes show it"
        )


def with_axis(rows: Tensor, before: tuple[int, ...], size: int) -> Tensor:
    """Return the rows of one sample; `before` is the shape for `size` samples, which have an axis that one may lack."""
    is_squeezed = size > 1 and before[:1] == (size,) and tuple(rows.shape) == before[1:]
    return rows.unsqueeze(0) if is_squeezed else rows


def run_another_size(
    tree: ModuleTree, at: str, read: Callable[[Node, Any], Tensor], forward: Callable[[int], Any], size: int
) -> tuple[SampleAxes, int, Any]:
    """Run `forward` with another number of samples than `size`; return what it shows, the number and the output.

    Where no number succeeds, the number is 0.
    """
    failure = ""
    for other in OTHER_SIZES:
        if other == size:
            continue
        found = OtherPass(other, at)
        try:
            with (
                without_trace(tree.root.module),
                ForwardTap(tree, ShapeRecorder(found, read), with_kwargs=at == "input"),
            ):
                output = forward(other)
        except Exception as error:  # a model made for one batch size, say
            failure = failure or f"{type(error).__name__}: {str(error).strip().partition(chr(10))[0]}"
        else:
            return SampleAxes(found), other, output
    return SampleAxes(failure=failure), 0, None
