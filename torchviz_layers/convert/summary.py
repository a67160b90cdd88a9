"""What a converted module consists of: a table of its layers, the shapes between them, example inputs."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, fx, nn

from torchviz_layers._common.module_facts import get_fact
from torchviz_layers.convert.layers.base import KerasModule
from torchviz_layers.convert.layers.core import Embedding
from torchviz_layers.convert.layers.recurrent import StatefulLayer

_UNKNOWN_SIZE = 32


@dataclass(frozen=True)
class ConversionRow:
    """One line of the table: a Keras layer and what it became."""

    layer: str
    module: str
    output_shape: str
    parameters: int


class ConversionTable(tuple[ConversionRow, ...]):
    """The layers of a converted model; prints as a table."""

    def __str__(self) -> str:
        """Return the table as text, with the total of parameters below."""
        head = ("Keras layer", "torch module", "output shape", "parameters")
        lines = [head, *((row.layer, row.module, row.output_shape, f"{row.parameters:,}") for row in self)]
        widths = [max(len(line[column]) for line in lines) for column in range(4)]
        text = []
        for line in lines:
            cells = [cell.ljust(width) for cell, width in zip(line, widths, strict=True)]
            cells[-1] = line[-1].rjust(widths[-1])  # numbers to the right
            text.append("  ".join(cells))
        total = sum(row.parameters for row in self)
        return "\n".join([text[0], "-" * len(text[0]), *text[1:], f"{total:,} parameters"])


def conversion_table(module: nn.Module) -> ConversionTable:
    """Return the table of a converted module: Keras layer, torch module, output shape, parameters (buffers included).

    Shapes come from one forward pass of zeros; they stay empty where the file does not say the shape of its input.
    """
    shapes = output_shapes(module)
    rows = []
    for name, layer in keras_layers(module):
        count = sum(value.numel() for value in (*layer.parameters(), *layer.buffers()))
        rows.append(ConversionRow(name, type(layer).__name__, shapes.get(name, ""), count))
    return ConversionTable(rows)


def keras_layers(module: nn.Module, prefix: str = "") -> Iterator[tuple[str, nn.Module]]:
    """Yield every Keras layer of a converted module by its qualified name; nested models yield their layers."""
    for name, child in module.named_children():
        if isinstance(child, (nn.Sequential, fx.GraphModule)):
            yield from keras_layers(child, f"{prefix}{name}.")
        else:
            yield f"{prefix}{name}", child


def example_inputs(module: nn.Module, batch: int = 2, seed: int | None = 0) -> tuple[Tensor, ...] | None:
    """Return random inputs of a converted module, in its layout; None where the file does not say their shapes.

    Sizes that Keras leaves open become 32. With seed None the inputs are zeros.
    """
    shapes = get_fact(module, "input_shapes")
    if not shapes or any(shape is None for shape in shapes):
        return None
    generator = torch.Generator().manual_seed(seed or 0)
    limits = _index_limits(module)
    inputs = []
    for shape in shapes:
        size = [batch, *(_UNKNOWN_SIZE if entry is None else int(entry) for entry in shape)]
        if seed is None:
            inputs.append(torch.zeros(size))
        elif limits:
            inputs.append(torch.randint(0, min(limits), size, generator=generator).float())
        else:
            inputs.append(torch.rand(size, generator=generator))
    return tuple(inputs)


def _index_limits(module: nn.Module) -> list[int]:
    return [part.num_embeddings for part in module.modules() if isinstance(part, Embedding)]


def output_shapes(module: nn.Module) -> dict[str, str]:
    """Return the shape of each submodule's output, `(N, 32, 15, 15)`; empty where the model cannot be run."""
    inputs = example_inputs(module, batch=1, seed=None)
    if inputs is None:
        return {}
    found: dict[str, str] = {}
    handles = []

    def keep(name: str) -> Any:
        def hook(_module: nn.Module, _inputs: Any, output: Any) -> None:
            found.setdefault(name, _shape(output))

        return hook

    for name, part in module.named_modules():
        if isinstance(part, (KerasModule, nn.Sequential, fx.GraphModule)):
            handles.append(part.register_forward_hook(keep(name)))
    try:
        with torch.no_grad():
            module(*inputs)
    except (RuntimeError, IndexError, ValueError, TypeError):
        return {}
    finally:
        for handle in handles:
            handle.remove()
        reset_states(module)
    return found


def reset_states(module: nn.Module) -> None:
    """Let stateful recurrent layers start from zeros."""
    for part in module.modules():
        if isinstance(part, StatefulLayer):
            part.reset_states()


def _shape(output: Any) -> str:
    if isinstance(output, Tensor):
        return f"({', '.join(['N', *map(str, output.shape[1:])])})"
    if isinstance(output, dict):
        return ", ".join(map(_shape, output.values()))
    if isinstance(output, (tuple, list)):
        return ", ".join(_shape(entry) for entry in output if isinstance(entry, Tensor))
    return ""
