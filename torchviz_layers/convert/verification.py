"""A converted model compared with Keras itself, or with stored outputs of Keras, layer by layer."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from torchviz_layers._common.arrays import Array
from torchviz_layers._common.files import read_npz
from torchviz_layers.convert.conversion import convert_keras
from torchviz_layers.convert.keras_files.naming import attribute_name
from torchviz_layers.convert.onnx.export import flat_outputs
from torchviz_layers.convert.summary import example_inputs
from torchviz_layers.exceptions import ConversionError, MissingDependencyError


@dataclass(frozen=True)
class LayerCheck:
    """How far one layer is from Keras: max|a - b| / max(1, max|b|); infinite for another shape."""

    layer: str
    difference: float


@dataclass(frozen=True)
class Verification:
    """The outcome of `verify`: every compared layer in order, then the outputs; prints as a table."""

    oracle: str
    checks: tuple[LayerCheck, ...]
    tolerance: float

    @property
    def worst(self) -> float:
        """The largest difference."""
        return max((check.difference for check in self.checks), default=0.0)

    @property
    def first_difference(self) -> str | None:
        """The name of the first layer that differs by more than the tolerance, or None."""
        return next((check.layer for check in self.checks if not check.difference <= self.tolerance), None)

    @property
    def passed(self) -> bool:
        """True where no layer differs by more than the tolerance."""
        return bool(self.checks) and self.first_difference is None

    def __str__(self) -> str:
        """Return the table and the verdict."""
        width = max((len(check.layer) for check in self.checks), default=5)
        lines = [f"{check.layer.ljust(width)}  {check.difference:.1e}" for check in self.checks]
        verdict = f"equal within {self.tolerance:g} (worst {self.worst:.1e})"
        if self.first_difference is not None:
            verdict = (
                f"differs first at {self.first_difference!r} (worst {self.worst:.1e}, tolerance {self.tolerance:g})"
            )
        return "\n".join([f"against {self.oracle}:", *lines, verdict])


def verify(
    path: str | Path,
    *,
    reference: str | Path | None = None,
    inputs: Sequence[Array] | None = None,
    tolerance: float = 1e-4,
    seed: int = 0,
) -> Verification:
    """Convert a Keras file and compare it with Keras, layer by layer, on the same inputs.

    Parameters
    ----------
    path
        The Keras file.
    reference
        A `.npz` with stored inputs `input_0`, ... and outputs `output_0`, ... of Keras (and layers as
        `L<index>_<kind>_<name>`); without it, Keras 3 must be installed.
    inputs
        Arrays with Keras's axes; by default two random samples.
    tolerance
        Largest difference that counts as equal, relative to max(1, largest entry).
    seed
        Of the random inputs.

    Raises
    ------
    ConversionError
        The file cannot be converted, Keras cannot load it, or the reference does not fit.
    MissingDependencyError
        Neither a reference is given nor is Keras installed.
    """
    module = convert_keras(path, layout="keras")
    if reference is not None:
        return _compare_with_stored(module, Path(reference), tolerance)
    arrays = list(inputs) if inputs is not None else _random_inputs(module, seed)
    if arrays is None:
        raise ConversionError(
            f"{path}: the file does not say the shape of its input: pass verify(..., inputs=[array, ...])"
        )
    oracle, layers, outputs = _run_keras(Path(path), arrays)
    ours, final = _run_ours(module, arrays)
    checks = [LayerCheck(name, _difference(ours[name], value)) for name, value in layers.items() if name in ours]
    return Verification(oracle, (*checks, *_output_checks(final, outputs)), tolerance)


def _random_inputs(module: nn.Module, seed: int) -> list[Array] | None:
    examples = example_inputs(module, seed=seed)
    return None if examples is None else [value.numpy() for value in examples]


def _run_ours(module: nn.Module, arrays: Sequence[Array]) -> tuple[dict[str, Array], list[Array]]:
    """Return what each top-level layer output at its first call, and the outputs."""
    found: dict[str, Array] = {}

    def keep(name: str) -> Any:
        def hook(_module: nn.Module, _inputs: Any, output: Any) -> None:
            first = flat_outputs(output)[0] if not isinstance(output, torch.Size) else None
            if first is not None:
                found.setdefault(name, first.detach().numpy())

        return hook

    handles = [child.register_forward_hook(keep(name)) for name, child in module.named_children()]
    try:
        with torch.no_grad():
            output = module(*(torch.from_numpy(np.ascontiguousarray(array)) for array in arrays))
    finally:
        for handle in handles:
            handle.remove()
    return found, [value.numpy() for value in flat_outputs(output)]


def _run_keras(path: Path, arrays: Sequence[Array]) -> tuple[str, dict[str, Array], list[Array]]:
    """Return Keras's name, what each of its layers output, and its outputs."""
    os.environ.setdefault("KERAS_BACKEND", "torch")  # read by Keras when it is first imported
    try:
        import keras
    except ImportError as problem:
        raise MissingDependencyError("keras", "keras", "comparing with Keras") from problem
    try:
        model = keras.models.load_model(path, compile=False)
        layers = [layer for layer in model.layers if layer.__class__.__name__ != "InputLayer"]
        first = [_first_output(layer) for layer in layers]
        known = [(layer.name, output) for layer, output in zip(layers, first, strict=True) if output is not None]
        probe = keras.Model(model.inputs, [output for _, output in known])
        values = [_numpy(value) for value in probe([np.asarray(array) for array in arrays], training=False)]
        outputs = [_numpy(value) for value in _flat(model([np.asarray(array) for array in arrays], training=False))]
    except Exception as problem:
        reason = (str(problem).strip().splitlines() or [""])[0]
        raise ConversionError(
            f"{path}: this Keras cannot run the file: {type(problem).__name__}: {reason}"
        ) from problem
    names = [attribute_name(name) for name, _ in known]
    return f"Keras {keras.__version__} ({keras.backend.backend()})", dict(zip(names, values, strict=True)), outputs


def _first_output(layer: Any) -> Any:
    try:
        output = (
            layer.get_output_at(0) if hasattr(layer, "get_output_at") else layer._inbound_nodes[-1].output_tensors[0]
        )
    except (AttributeError, IndexError):
        return None
    return output[0] if isinstance(output, (list, tuple)) else output


def _flat(value: Any) -> list[Any]:
    if isinstance(value, dict):
        return [part for key in value for part in _flat(value[key])]
    return [part for entry in value for part in _flat(entry)] if isinstance(value, (list, tuple)) else [value]


def _numpy(value: Any) -> Array:
    return np.asarray(value.detach().cpu().numpy() if hasattr(value, "detach") else value)


def _compare_with_stored(module: nn.Module, reference: Path, tolerance: float) -> Verification:
    try:
        arrays = read_npz(reference)
    except ValueError as problem:
        raise ConversionError(f"{reference}: not a .npz of stored outputs: {problem}") from problem
    inputs = [arrays[f"input_{index}"] for index in range(len(arrays)) if f"input_{index}" in arrays]
    if not inputs and "x256" in arrays:
        inputs = [arrays["x256"]]
    if not inputs:
        raise ConversionError(f"{reference}: it holds no inputs (input_0, ...), only {', '.join(list(arrays)[:8])}")
    ours, final = _run_ours(module, inputs)
    named = {name.split("_", 2)[2]: name for name in sorted(arrays) if name.startswith("L") and name.count("_") >= 2}
    checks = [LayerCheck(name, _difference(ours[name], arrays[key])) for name, key in named.items() if name in ours]
    outputs = [arrays[f"output_{index}"] for index in range(len(arrays)) if f"output_{index}" in arrays]
    return Verification(str(reference), (*checks, *(_output_checks(final, outputs) if outputs else ())), tolerance)


def _output_checks(ours: list[Array], wanted: list[Array]) -> tuple[LayerCheck, ...]:
    if len(ours) != len(wanted):
        return (LayerCheck(f"outputs ({len(ours)} for {len(wanted)})", float("inf")),)
    pairs = enumerate(zip(ours, wanted, strict=True))
    return tuple(LayerCheck(f"output {index}", _difference(a, b)) for index, (a, b) in pairs)


def _difference(ours: Array, wanted: Array) -> float:
    """Compare in Keras's axes; our channels may be axis 1 (images) or axis 2 (images over time)."""
    candidates = [ours, *(np.moveaxis(ours, axis, -1) for axis in (1, 2) if ours.ndim >= 4)]
    fitting = [array for array in candidates if array.shape == wanted.shape]
    if not fitting:
        return float("inf")
    scale = max(1.0, float(np.abs(wanted).max(initial=0.0)))
    best = min(float(np.abs(array - wanted).max(initial=0.0)) for array in fitting) / scale
    return best if np.isfinite(best) else float("inf")
