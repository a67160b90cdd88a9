"""The axis of the samples, decided by two forward passes with different numbers of samples.

One shape is not enough: where a batch has as many samples as a sequence has steps, a table of positions (steps,
features) looks like one row a sample. So a short pass with another number of samples, the probe, runs first. An axis is
that of the samples if its length is the number of samples in both passes.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from torch import Tensor

from torchviz_layers._common.nested import given
from torchviz_layers.exceptions import CaptureError
from torchviz_layers.hooks.batches import OTHER_BATCH_SIZES
from torchviz_layers.hooks.forward_hooks import ForwardHooks
from torchviz_layers.hooks.model_state import restored_state
from torchviz_layers.hooks.modules import ModuleTree, Node

_MOST_NAMED = 5


@dataclass
class Probe:
    """The shape of every call's output (or input) in a pass with another number of samples, `size`."""

    size: int
    at: str
    shapes: dict[tuple[Node, int], tuple[int, ...]] = field(default_factory=dict)
    """By module and call; an empty shape where there was no single tensor."""


@dataclass
class ShapeRecorder:
    """Fills `probe` in a forward pass."""

    probe: Probe
    read: Callable[[Node, Any], Tensor]
    """Returns the one tensor of a value."""
    _entered: Counter[Node] = field(default_factory=Counter)

    def begin(self, arguments: Mapping[str, Any]) -> None:
        """Start."""

    def enter(self, node: Node, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> None:
        """Record the shape of an input."""
        if self.probe.at == "input":
            self._record(node, self._entered[node], given(args, kwargs))
            self._entered[node] += 1

    def leave(self, node: Node, call: int, output: Any, entered: Any, *, leaf: bool) -> None:  # noqa: ARG002
        """Record the shape of an output."""
        if self.probe.at == "output":
            self._record(node, call, output)

    def _record(self, node: Node, call: int, value: Any) -> None:
        # A value without a single tensor is an error only if the layer is wanted, which is not known here.
        try:
            self.probe.shapes[node, call] = tuple(self.read(node, value).shape)
        except CaptureError:
            self.probe.shapes[node, call] = ()


@dataclass
class SampleAxes:
    """Finds the axis of the samples in the output (or input) of a call."""

    probe: Probe | None = None
    """None where no other number of samples succeeded."""
    failure: str = ""
    """Why none succeeded."""
    _known: dict[tuple[Node, int], int] = field(default_factory=dict)
    _sizes: dict[tuple[Node, int], int] = field(default_factory=dict)
    """Calls without a shape in the probe that were seen with this number of samples only."""

    def find(self, node: Node, call: int, shape: tuple[int, ...], size: int, *, time_major: bool) -> int | None:
        """Return the axis of the samples, or None if no axis has their number.

        With `time_major`, axis 1 is tried first if there are features after it. An axis that has their number in this
        pass and not in the probe raises `CaptureError`.
        """
        known = self._known.get((node, call))
        if known is not None:
            return known
        # (steps, samples, features) in time-major modules; of two axes the first one is that of the samples.
        likely = (1, 0) if time_major and len(shape) > 2 else (0,)
        fitting = [axis for axis in likely if axis < len(shape) and shape[axis] == size]
        if not fitting:
            return None
        # The probe says nothing if it has the size of this batch (a last, smaller one), or if this call did not run.
        probe = self.probe
        if probe is None or probe.size == size or (node, call) not in probe.shapes:
            return self._unconfirmed(node, call, fitting[0], size)
        before = probe.shapes[node, call]
        confirmed = [axis for axis in fitting if axis < len(before) and before[axis] == probe.size]
        if not confirmed:
            raise _no_axis(node, shape, size, probe, before)
        self._known[node, call] = confirmed[0]
        return confirmed[0]

    def unsqueezed(self, node: Node, call: int, tensor: Tensor) -> Tensor:
        """Return a call's output for one sample, with an axis of samples where `squeeze()` removed it."""
        if self.probe is None:
            return tensor
        return restore_axis(tensor, self.probe.shapes.get((node, call), ()), self.probe.size)

    def _unconfirmed(self, node: Node, call: int, axis: int, size: int) -> int:
        """Return the axis, and note whether batches of a second size confirm it without the probe."""
        if self._sizes.setdefault((node, call), size) != size:
            # The axis has had the number of samples in batches of two sizes.
            self._known[node, call] = axis
            del self._sizes[node, call]
        return axis

    def notice(self) -> str | None:
        """Return the warning about calls whose axis could not be confirmed, if there are any."""
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


def _no_axis(node: Node, shape: tuple[int, ...], size: int, probe: Probe, before: tuple[int, ...]) -> CaptureError:
    """Return the error for an output with an axis as long as the batch in one pass only."""
    # An axis that has the number of samples in both passes can be given as batch_dim, though it is not a likely one.
    pairs = list(zip(shape, before, strict=True)) if len(shape) == len(before) else []
    axes = [axis for axis, pair in enumerate(pairs) if pair == (size, probe.size)]
    advice = f"its axis {axes[0]} has: pass batch_dim={axes[0]}" if axes else "leave it out of layers="
    return CaptureError(
        f"{node.name!r}: its {probe.at} has no row for each sample, though one axis is as long as the batch: "
        f"of shape {shape} for {size} samples and {before or 'no single tensor'} for {probe.size}; {advice}"
    )


def restore_axis(tensor: Tensor, before: tuple[int, ...], size: int) -> Tensor:
    """Return the output for one sample with an axis of samples; `before` is its shape for `size` samples.

    `squeeze()` turns (1, features) into (features,), where two samples have (2, features).
    """
    is_squeezed = size > 1 and before[:1] == (size,) and tuple(tensor.shape) == before[1:]
    return tensor.unsqueeze(0) if is_squeezed else tensor


def run_probe(
    tree: ModuleTree, at: str, read: Callable[[Node, Any], Tensor], forward: Callable[[int], Any], size: int
) -> tuple[SampleAxes, int, Any]:
    """Run `forward` with another number of samples than `size`; return what it shows, the number and the output.

    Where no number succeeds, the number is 0.
    """
    failure = ""
    for other in OTHER_BATCH_SIZES:
        if other == size:
            continue
        probe = Probe(other, at)
        hooks = ForwardHooks(tree, ShapeRecorder(probe, read), with_kwargs=at == "input")
        try:
            with restored_state(tree.root.module), hooks:
                output = forward(other)
        except Exception as error:  # whatever the model raises: it may take one batch size only
            first_line = str(error).strip().partition("\n")[0]
            failure = failure or f"{type(error).__name__}: {first_line}"
        else:
            return SampleAxes(probe), other, output
    return SampleAxes(failure=failure), 0, None
