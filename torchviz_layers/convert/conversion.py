"""`convert_keras`: the stages of a conversion composed."""

from __future__ import annotations

from pathlib import Path

from torch import nn

from torchviz_layers.convert import rules  # noqa: F401 - importing it fills the registry
from torchviz_layers.convert.building import CustomLayers, Layout, NetworkBuilder
from torchviz_layers.convert.keras_files.config import parse_network
from torchviz_layers.convert.keras_files.expected_arrays import refuse_quantized
from torchviz_layers.convert.keras_files.reading import read_keras_file
from torchviz_layers.convert.keras_files.weights import assign_weights
from torchviz_layers.exceptions import ConversionError, UnsupportedLayerError


def convert_keras(
    path: str | Path, *, layout: Layout = "torch", custom_layers: CustomLayers | None = None
) -> nn.Module:
    """Convert a Keras model file into a PyTorch module, without Keras and without running anything in the file.

    Parameters
    ----------
    path
        `.h5` / `.hdf5` of Keras 1, 2, tf.keras or 3, or a `.keras` archive, packed or unpacked; recognised by content.
    layout
        How images enter and leave. `"torch"`: channels first, (n, channels, height, width), where an input reaches a
        layer on images; everything else as Keras has it. `"keras"`: exactly Keras's axes. Inside, images always run
        with channels first.
    custom_layers
        Factories for layers that the file only names (Lambda, custom classes), by class or layer name. A factory gets
        the layer's configuration and its arrays by name, and returns a module that works on Keras's axes.

    Returns
    -------
    nn.Module
        In eval mode. Every Keras layer is one named submodule whose output is that of the Keras layer,
        activation included.

    Raises
    ------
    ConversionError
        The file is not a complete Keras model, or is damaged.
    UnsupportedLayerError
        Some layers hold code or are unknown; the message names all of them.

    Examples
    --------
    >>> model = convert_keras("model.h5")  # doctest: +SKIP
    """
    if layout not in ("torch", "keras"):
        raise ValueError(f"layout={layout!r}: choose 'torch' or 'keras'")
    file = read_keras_file(path)
    try:
        network = parse_network(file.config, file.keras_version)
        refuse_quantized(network)
        assign_weights(file, network)
        builder = NetworkBuilder(network, custom_layers or {})
        module = builder.build(layout)
    except UnsupportedLayerError:
        raise
    except ConversionError as problem:
        raise ConversionError(f"{path}: {problem}") from problem.__cause__
    except (LookupError, TypeError, ValueError, AttributeError, RuntimeError, ArithmeticError) as problem:
        what = f"{type(problem).__name__}: {problem}"
        raise ConversionError(f"{path}: the model in it is inconsistent: {what}") from problem
    if builder.problems:
        raise UnsupportedLayerError(_unsupported_layers(path, builder.problems))
    return module.eval()


def _unsupported_layers(path: str | Path, problems: list[str]) -> str:
    listed = "".join(f"\n  {problem}" for problem in dict.fromkeys(problems))
    return (
        f"{path}: some layers are unsupported; nothing in the file was executed:{listed}\n"
        "Pass your own modules for them: convert_keras(path, custom_layers={'Kind or layer name': factory}), where "
        "factory(config, weights) returns an nn.Module that works on Keras's axes"
    )
