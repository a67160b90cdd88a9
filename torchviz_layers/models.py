"""`load_model`: a bundled name, a file or a factory becomes a module that knows what its samples should look like."""

from __future__ import annotations

import importlib
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import nn

from torchviz_layers.convert import convert_keras, load_onnx
from torchviz_layers.exceptions import ModelError

Transform = Callable[[torch.Tensor], torch.Tensor]

# name -> (file in models/, how an MNIST image becomes its input)
_BUNDLED = {"mnist_dense128": ("MNIST_dense128.h5", "squeeze"), "mnist_lenet60": ("MNIST_LeNet60.h5", "pad=2")}
_KERAS_SUFFIXES = {".h5", ".hdf5", ".keras"}
_WAYS = (
    f"a bundled name ({', '.join(_BUNDLED)}), a .h5/.hdf5/.keras/.onnx file, 'package.module:factory', "
    "or 'torchvision:resnet18@DEFAULT'"
)


def load_model(
    spec: str | Path, *, transform: str | Transform | None = None, weights: str | Path | None = None
) -> nn.Module:
    """Load a model by name, file or factory, in eval mode.

    Parameters
    ----------
    spec : str or Path
        A bundled name (`mnist_dense128`, `mnist_lenet60`); a Keras file (`.h5`, `.hdf5`, `.keras`), converted without
        Keras; an `.onnx` file; `package.module:factory`, imported and called; or `torchvision:ARCHITECTURE@WEIGHTS`
        (without `@WEIGHTS`: randomly initialised).
    transform : str or callable, optional
        What turns a batch of images (n, channels, height, width) into the model's input, in the words of
        `parse_transform` or as a function; kept as the module's `transform`. Bundled models and torchvision weights
        bring their own.
    weights : str or Path, optional
        A checkpoint for a model that is not a file itself: `.safetensors`, or a state dict that
        `torch.load(weights_only=True)` reads.

    Returns
    -------
    nn.Module
        In eval mode, with the attribute `transform` (None where images go in as they are).

    Raises
    ------
    ModelError
        If `spec` leads nowhere, or the checkpoint does not fit.
    ConversionError
        If the file cannot become a module.

    Examples
    --------
    >>> model = load_model("mnist_lenet60")
    >>> tuple(model(model.transform(torch.zeros(1, 1, 28, 28))).shape)
    (1, 10)
    """
    text = str(spec)
    model, own_transform = _resolve(text)
    if weights is not None:
        _load_weights(model, Path(weights), text)
    chosen = own_transform if transform is None else transform
    model.transform = parse_transform(chosen) if isinstance(chosen, str) else chosen  # type: ignore[assignment]
    return model.eval()


def model_transform(model: nn.Module) -> Transform | None:
    """Return the model's `transform`, unless that is a part of its network (torchvision's detectors have one)."""
    transform = getattr(model, "transform", None)
    return None if isinstance(transform, nn.Module) and "transform" in model._modules else transform


def _resolve(text: str) -> tuple[nn.Module, str | Transform | None]:
    if text in _BUNDLED:
        file, transform = _BUNDLED[text]
        return convert_keras(bundled_path(file)), transform
    suffix = Path(text).suffix.lower()
    if suffix in _KERAS_SUFFIXES:
        return convert_keras(Path(text)), None
    if suffix == ".onnx":
        return load_onnx(Path(text)), None
    if suffix in (".pt", ".pth", ".pt2", ".pkl", ".safetensors"):
        raise ModelError(f"{text}: weights alone are no model; give 'package.module:factory' and weights={text!r}")
    if text.startswith("torchvision:"):
        return _from_torchvision(text.removeprefix("torchvision:"))
    module, colon, factory = text.partition(":")
    if colon:
        return _from_factory(module, factory), None
    raise ModelError(f"model {text!r} leads nowhere: expected {_WAYS}")


def bundled_path(file: str) -> Path:
    """Return the path of a bundled file: inside the installed package, or in a checkout's `models/`."""
    package = Path(__file__).parent
    for folder in (package / "_bundled", package.parent / "models"):
        if (folder / file).is_file():
            return folder / file
    raise ModelError(f"{file} is missing from this installation: reinstall torchviz-layers, or run from a checkout")


def _from_torchvision(text: str) -> tuple[nn.Module, Transform | None]:
    import torchvision

    name, _, weights_name = text.partition("@")
    try:
        weights = torchvision.models.get_model_weights(name)[weights_name] if weights_name else None
        # Without weights these two would spend seconds on a start of their own that torchvision warns about.
        quick = {"init_weights": False} if name in ("googlenet", "inception_v3") and weights is None else {}
        model: nn.Module = torchvision.models.get_model(name, weights=weights, **quick)
    except (ValueError, KeyError) as problem:
        raise ModelError(f"torchvision has no model or weights {text!r}: {problem}") from problem
    except OSError as problem:
        raise ModelError(f"the weights of torchvision:{text} could not be fetched: {problem}") from problem
    return model, weights.transforms() if weights else None


def _from_factory(module: str, factory: str) -> nn.Module:
    try:
        function = getattr(importlib.import_module(module), factory)
    except (ImportError, AttributeError) as problem:
        raise ModelError(f"model '{module}:{factory}' leads nowhere ({problem}): expected {_WAYS}") from problem
    model = function()
    if not isinstance(model, nn.Module):
        raise ModelError(f"'{module}:{factory}' gave a {type(model).__name__}, not a torch.nn.Module")
    return model


def _load_weights(model: nn.Module, path: Path, name: str) -> None:
    from safetensors.torch import load_file

    try:
        if path.suffix == ".safetensors":
            state: Any = load_file(path)
        else:
            state = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as problem:  # each reader has its own errors; all mean that the file cannot be used
        raise ModelError(f"{path} is no checkpoint that can be read safely: {problem}") from problem
    state = state.get("state_dict", state.get("model", state)) if isinstance(state, dict) else state
    try:
        model.load_state_dict(state)
    except (RuntimeError, TypeError) as problem:
        raise ModelError(f"{path} does not fit {name}: {problem}") from problem


def parse_transform(text: str) -> Transform | None:
    """Read a chain of image transforms, joined by `+`.

    `pad=2` puts so many zeros on every side, `resize=32` scales to a square, `squeeze` drops a channel axis of length
    one, `channels_last` moves it to the end, `flatten` makes rows, `gray` averages the channels, `rgb` repeats one
    channel three times; `none` changes nothing.

    Examples
    --------
    >>> parse_transform("resize=32+rgb")(torch.zeros(1, 1, 28, 28)).shape
    torch.Size([1, 3, 32, 32])
    """
    steps = [_parse_step(step.strip(), text) for step in text.split("+") if step.strip() != "none"]
    if not steps:
        return None
    return steps[0] if len(steps) == 1 else partial(_chain, steps)


def _chain(steps: list[Transform], images: torch.Tensor) -> torch.Tensor:
    for step in steps:
        images = step(images)
    return images


def _parse_step(step: str, text: str) -> Transform:
    name, _, value = step.partition("=")
    if value.isdecimal():
        number = int(value)
        if name == "pad":
            return partial(nn.functional.pad, pad=(number,) * 4)
        if name == "resize" and number:
            return partial(nn.functional.interpolate, size=(number, number), mode="bilinear", antialias=True)
    plain: dict[str, Transform] = {
        "squeeze": partial(torch.squeeze, dim=1),
        "channels_last": partial(torch.movedim, source=1, destination=-1),
        "flatten": partial(torch.flatten, start_dim=1),
        "gray": partial(torch.mean, dim=1, keepdim=True),
        "rgb": partial(torch.repeat_interleave, repeats=3, dim=1),
    }
    if step not in plain:
        raise ModelError(
            f"transform {text!r}: {step!r} is none of pad=N, resize=N, {', '.join(plain)}, none (join them with +)"
        )
    return plain[step]


def check_input(model: nn.Module, shape: tuple[int, ...], name: str = "model") -> None:
    """Raise `ModelError` where a sample's shape is not what a converted model was made for.

    PyTorch would let many a wrong size through a pooling layer; Keras would not. Other models are not checked.
    """
    wanted = _input_shape(model)
    if wanted is not None and not _agree(shape, wanted):
        raise ModelError(
            f"{name}: samples of shape {shape} do not fit, it wants {wanted}; give a transform "
            "(load_model(..., transform='pad=2') or --transform pad=2, for instance)"
        )


def fitting_transform(model: nn.Module, image_shape: tuple[int, ...]) -> str | None:
    """Return the words of the transform that fits images to a converted model and loses nothing, if there is one.

    Only dropping or moving a channel axis and an even border of at most four zeros are ever proposed: anything else is
    a decision for the caller. `image_shape` is (channels, height, width).
    """
    wanted = _input_shape(model)
    if wanted is None:
        return None
    for words in ("none", "squeeze", "channels_last", "pad=1", "pad=2", "pad=3", "pad=4"):
        transform = parse_transform(words)
        images = torch.zeros(1, *image_shape)
        if _agree(tuple((images if transform is None else transform(images)).shape[1:]), wanted):
            return words
    return None


def _input_shape(model: nn.Module) -> tuple[int | None, ...] | None:
    """Return the shape of one sample of the one input that a converted model has, where it is known."""
    shapes = getattr(model, "input_shapes", None)
    return shapes[0] if isinstance(shapes, tuple) and len(shapes) == 1 else None


def _agree(shape: tuple[int, ...], wanted: tuple[int | None, ...]) -> bool:
    return len(shape) == len(wanted) and all(want in (size, None) for size, want in zip(shape, wanted, strict=True))
