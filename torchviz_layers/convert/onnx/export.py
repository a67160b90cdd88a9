"""A converted module -> ONNX file; ONNX Runtime must compute the same as the module."""

from __future__ import annotations

import contextlib
import logging
import os
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, fx, nn

from torchviz_layers._common.files import atomic_write
from torchviz_layers.convert.onnx.recurrent import recurrent_operators
from torchviz_layers.convert.summary import example_inputs, reset_states
from torchviz_layers.exceptions import ConversionError, MissingDependencyError


def export_onnx(
    module: nn.Module, path: str | Path, *, inputs: tuple[Tensor, ...] | None = None, tolerance: float = 1e-4
) -> float:
    """Write a module as ONNX and compare it with ONNX Runtime on the same inputs.

    Parameters
    ----------
    module
        What `convert_keras` returned, or any module that `torch.onnx.export` takes.
    path
        The file to write; it stays unwritten where the two disagree.
    inputs
        Example inputs with at least two samples; by default random ones of the shapes that the Keras file names.
    tolerance
        Largest difference allowed, relative to max(1, largest output).

    Returns
    -------
    float
        The largest difference found, relative to max(1, largest output).

    Raises
    ------
    ConversionError
        The module cannot be exported, or ONNX Runtime computes something else.
    MissingDependencyError
        onnxscript or onnxruntime is not installed.
    """
    try:
        import onnxruntime
        import onnxscript  # noqa: F401 - torch.onnx needs it
    except ImportError as problem:
        raise MissingDependencyError(str(problem.name), "onnx", "writing ONNX") from problem
    import torch._dynamo  # noqa: F401 - torch.export would, and turn a Ctrl-C meanwhile into an error of its own

    path = Path(path)
    inputs = inputs if inputs is not None else example_inputs(module)
    if inputs is None:
        raise ConversionError(
            f"{path}: the file does not say the shape of its input: pass export_onnx(..., inputs=(tensor, ...))"
        )
    try:
        with atomic_write(path) as temporary:
            _export(module, inputs, temporary, path)
            session = onnxruntime.InferenceSession(temporary, providers=["CPUExecutionProvider"])
            difference = _difference(module, inputs, session)
            if not difference <= tolerance:
                raise ConversionError(
                    f"{path}: ONNX Runtime differs from the module by {difference:.1e}; nothing was written"
                )
    except OSError as problem:
        raise ConversionError(f"{path}: cannot be written: {problem.strerror or problem}") from problem
    return difference


def _export(module: nn.Module, inputs: tuple[Tensor, ...], target: Path, path: Path) -> None:
    names = _input_names(module, len(inputs))
    batch = torch.export.Dim("batch")
    shapes = tuple({0: batch} for _ in inputs)
    with _quiet(), recurrent_operators(module):
        try:
            program = torch.onnx.export(
                module.eval(), inputs, dynamo=True, input_names=names, dynamic_shapes=shapes, verbose=False
            )
        except Exception:
            try:
                program = torch.onnx.export(module.eval(), inputs, dynamo=True, input_names=names, verbose=False)
            except Exception as problem:
                cause = problem.__cause__ or problem  # the exporter's own text only says which step it was
                reason = (str(cause).strip().splitlines() or [""])[0]
                raise ConversionError(
                    f"{path}: torch.onnx cannot export this model: {type(cause).__name__}: {reason}"
                ) from problem
        assert program is not None
        program.save(target, external_data=False)


def _input_names(module: nn.Module, count: int) -> list[str]:
    if isinstance(module, fx.GraphModule):
        return [node.name for node in module.graph.nodes if node.op == "placeholder"]
    return ["x"] if count == 1 else [f"x{index}" for index in range(count)]


def _difference(module: nn.Module, inputs: tuple[Tensor, ...], session: Any) -> float:
    reset_states(module)
    with torch.no_grad():
        wanted = flat_outputs(module(*inputs))
    reset_states(module)
    feeds = {entry.name: value.numpy() for entry, value in zip(session.get_inputs(), inputs, strict=True)}
    got = session.run(None, feeds)
    return largest_difference(got, [value.numpy() for value in wanted])


def flat_outputs(output: Any) -> list[Tensor]:
    """Return a model's outputs as a list, whatever they are nested in."""
    if isinstance(output, Tensor):
        return [output]
    entries = output.values() if isinstance(output, dict) else output
    return [tensor for entry in entries for tensor in flat_outputs(entry)]


def largest_difference(got: list[np.ndarray[Any, Any]], wanted: list[np.ndarray[Any, Any]]) -> float:
    """Return the largest difference over all outputs, relative to max(1, largest wanted)."""
    if len(got) != len(wanted) or any(a.shape != b.shape for a, b in zip(got, wanted, strict=True)):
        return float("inf")
    worst = 0.0
    for a, b in zip(got, wanted, strict=True):
        if b.size:
            difference = np.abs(a.astype(np.float64) - b).max() / max(1.0, float(np.abs(b.astype(np.float64)).max()))
            worst = max(worst, float(difference) if np.isfinite(difference) else float("inf"))
    return worst


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Keep the exporter's progress and warnings off the caller's terminal."""
    loggers = [logging.getLogger(name) for name in ("torch.onnx", "onnxscript", "onnx_ir", "torch.export")]
    levels = [logger.level for logger in loggers]
    with warnings.catch_warnings(), open(os.devnull, "w") as nothing, contextlib.redirect_stdout(nothing):
        warnings.simplefilter("ignore")
        for logger in loggers:
            logger.setLevel(logging.ERROR)
        try:
            yield
        finally:
            for logger, level in zip(loggers, levels, strict=True):
                logger.setLevel(level)
