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
        for check in self.checks:
            if not check.difference <= self.tolerance:  # true for NaN too
                return check.layer
        return None

    @property
    def passed(self) -> bool:
        """True where no layer differs by more than the tolerance."""
        return bool(self.checks) and self.first_difference is None

    def __str__(self) -> str:
        """Return the table and the verdict."""
        width = max((len(check.layer) for check in self.checks), default=5)
        rows = [f"{check.layer.ljust(width)}  {check.difference:.1e}" for check in self.checks]
        lines = [f"against {self.oracle}:", *rows]
        first = self.first_difference
        if first is None:
            lines.append(f"equal within {self.tolerance:g} (worst {self.worst:.1e})")
        else:
            lines.append(f"differs first at {first!r} (worst {self.worst:.1e}, tolerance {self.tolerance:g})")
        return "\n".join(lines)


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
    checks = (*_layer_checks(ours, layers), *_output_checks(final, outputs))
    return Verification(oracle, checks, tolerance)


def _random_inputs(module: nn.Module, seed: int) -> list[Array] | None:
    examples = example_inputs(module, seed=seed)
    return None if examples is None else [value.numpy() for value in examples]


def _run_ours(module: nn.Module, arrays: Sequence[Array]) -> tuple[dict[str, Array], list[Array]]:
    """Return what each top-level layer output at its first call, and the outputs."""
    found: dict[str, Array] = {}

    def keep(name: str) -> Any:
        def hook(_module: nn.Module, _inputs: Any, output: Any) -> None:
            if not isinstance(output, torch.Size):
                found.setdefault(name, flat_outputs(output)[0].detach().numpy())

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
        symbolic = {}  # the graph's tensor that each layer outputs
        for layer in model.layers:
            output = _first_output(layer)
            if output is not None and layer.__class__.__name__ != "InputLayer":
                symbolic[layer.name] = output
        # One model with all of these tensors as outputs computes them in one pass.
        probe = keras.Model(model.inputs, list(symbolic.values()))
        inputs = [np.asarray(array) for array in arrays]
        values = [_numpy(value) for value in probe(inputs, training=False)]
        outputs = [_numpy(value) for value in _flat(model(inputs, training=False))]
    except Exception as problem:
        reason = (str(problem).strip().splitlines() or [""])[0]
        raise ConversionError(
            f"{path}: this Keras cannot run the file: {type(problem).__name__}: {reason}"
        ) from problem
    names = [attribute_name(name) for name in symbolic]
    return f"Keras {keras.__version__} ({keras.backend.backend()})", dict(zip(names, values, strict=True)), outputs


def _first_output(layer: Any) -> Any:
    """Return the tensor that a layer of Keras 2 or 3 outputs at its first call, or None for an unused layer."""
    try:
        if hasattr(layer, "get_output_at"):
            output = layer.get_output_at(0)
        else:
            output = layer._inbound_nodes[-1].output_tensors[0]
    except (AttributeError, IndexError):
        return None
    return output[0] if isinstance(output, (list, tuple)) else output


def _flat(value: Any) -> list[Any]:
    """Return outputs as a list, whatever they are nested in."""
    if isinstance(value, dict):
        value = list(value.values())
    if not isinstance(value, (list, tuple)):
        return [value]
    flat = []
    for entry in value:
        flat += _flat(entry)
    return flat


def _numpy(value: Any) -> Array:
    if hasattr(value, "detach"):  # Keras on torch
        value = value.detach().cpu().numpy()
    return np.asarray(value)


def _compare_with_stored(module: nn.Module, reference: Path, tolerance: float) -> Verification:
    try:
        arrays = read_npz(reference)
    except ValueError as problem:
        raise ConversionError(f"{reference}: not a .npz of stored outputs: {problem}") from problem
    inputs = _numbered(arrays, "input")
    if not inputs and "x256" in arrays:
        inputs = [arrays["x256"]]
    if not inputs:
        raise ConversionError(f"{reference}: it holds no inputs (input_0, ...), only {', '.join(list(arrays)[:8])}")
    ours, final = _run_ours(module, inputs)
    layers = {}
    for name in sorted(arrays):
        if name.startswith("L") and name.count("_") >= 2:  # L<index>_<kind>_<name>
            layers[name.split("_", 2)[2]] = arrays[name]
    checks = _layer_checks(ours, layers)
    outputs = _numbered(arrays, "output")
    if outputs:
        checks += _output_checks(final, outputs)
    return Verification(str(reference), checks, tolerance)


def _numbered(arrays: dict[str, Array], name: str) -> list[Array]:
    """Return the arrays `name_0`, `name_1`, ... in their order."""
    keys = [f"{name}_{index}" for index in range(len(arrays))]
    return [arrays[key] for key in keys if key in arrays]


def _layer_checks(ours: dict[str, Array], wanted: dict[str, Array]) -> tuple[LayerCheck, ...]:
    return tuple(LayerCheck(name, _difference(ours[name], wanted[name])) for name in wanted if name in ours)


def _output_checks(ours: list[Array], wanted: list[Array]) -> tuple[LayerCheck, ...]:
    if len(ours) != len(wanted):
        return (LayerCheck(f"outputs ({len(ours)} for {len(wanted)})", float("inf")),)
    differences = map(_difference, ours, wanted)
    return tuple(LayerCheck(f"output {index}", difference) for index, difference in enumerate(differences))


def _difference(ours: Array, wanted: Array) -> float:
    """Compare in Keras's axes; our channels may be axis 1 (images) or axis 2 (images over time)."""
    candidates = [ours]
    if ours.ndim >= 4:
        candidates += [np.moveaxis(ours, 1, -1), np.moveaxis(ours, 2, -1)]
    scale = max(1.0, float(np.abs(wanted).max(initial=0.0)))
    best = float("inf")
    for array in candidates:
        if array.shape == wanted.shape:
            difference = float(np.abs(array - wanted).max(initial=0.0)) / scale
            best = min(best, difference)  # a NaN is not less than infinity
    return best
