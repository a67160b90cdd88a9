"""`load_model`: a bundled name, a file or a factory becomes a module that knows what its samples should look like."""

from __future__ import annotations

import difflib
import importlib
import inspect
import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any, cast

import torch
from torch import nn

from torchviz_layers._common.module_facts import get_fact, has_fact, note_fact, set_fact
from torchviz_layers.convert import convert_keras, load_onnx
from torchviz_layers.convert.keras_files.reading import is_unpacked
from torchviz_layers.exceptions import ModelError, TorchvizLayersError
from torchviz_layers.models.checkpoints import load_weights

Transform = Callable[[torch.Tensor], torch.Tensor]


class LoadedModel(nn.Module):
    """What type checkers take the result of `load_model` for: a module of whatever class, with a `transform`."""

    transform: Transform | None


# name -> (file in models/, how an MNIST image becomes its input)
_BUNDLED = {"mnist_dense128": ("MNIST_dense128.h5", "squeeze"), "mnist_lenet60": ("MNIST_LeNet60.h5", "pad=2")}
_KERAS_SUFFIXES = {".h5", ".hdf5", ".keras"}
_WAYS = (
    f"a bundled name ({', '.join(_BUNDLED)}), a .h5/.hdf5/.keras/.onnx file, 'package.module:factory', "
    "or 'torchvision:resnet18@DEFAULT'"
)


def load_model(
    spec: str | Path, *, transform: str | Transform | None = None, weights: str | Path | None = None
) -> LoadedModel:
    """Load a model by name, file or factory, in eval mode.

    Parameters
    ----------
    spec : str or Path
        A bundled name (`mnist_dense128`, `mnist_lenet60`); a Keras file (`.h5`, `.hdf5`, `.keras`), converted without
        Keras; an `.onnx` file; `package.module:factory`, imported and called (a module in its place is taken as it is);
        or `torchvision:ARCHITECTURE@WEIGHTS` (without `@WEIGHTS`: randomly initialised).
    transform : str or callable, optional
        What turns a batch of images (n, channels, height, width) into the model's input, in the words of
        `parse_transform` or as a function; kept as the module's `transform`, or beside it where the module has an
        attribute of that name. Bundled models and torchvision weights bring their own; without one, a function that a
        factory has set as `module.transform` is used ("none" leaves it out).
    weights : str or Path, optional
        A checkpoint for a model that is not a file itself: `.safetensors`, or a state dict that `torch.save` wrote, by
        itself or under a key such as `state_dict` or `model`. What else the file holds (options, counts, the
        optimizer) is not imported and no code of it runs. Prefixes such as `module.`, `_orig_mod.`, `model.` or `net.`
        are taken off where the keys are exactly the model's then; shared weights may be saved once.

    Returns
    -------
    nn.Module
        In eval mode, with the attribute `transform` (None where images go in as they are). A module's own attribute
        of that name, a detector's child say, is left alone: `torchviz_layers.models.model_transform` returns the
        transform of any module.

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
        load_weights(model, Path(weights), text)
    chosen = own_transform if transform is None else transform
    if chosen is not None or has_fact(model, "transform") or model_transform(model) is None:
        set_transform(model, parse_transform(chosen) if isinstance(chosen, str) else chosen)
    return cast(LoadedModel, model.eval())


def set_transform(model: nn.Module, transform: Transform | None) -> None:
    """Set what turns images into the model's input; an attribute `transform` of the module's own stays as it is."""
    set_fact(model, "transform", transform)


def trained_on(model: nn.Module) -> str | None:
    """Return the dataset that a bundled model was trained on; None for other models, and once its weights changed."""
    known = get_fact(model, "trained_on")
    if known is None or not math.isclose(known[1], _weight(model), rel_tol=1e-6):
        return None
    return str(known[0])


def _weight(model: nn.Module) -> float:
    """Return the sum of all weights' sizes, which training changes and another device does not."""
    return sum(float(value.detach().double().abs().sum()) for value in model.parameters())


def model_transform(model: nn.Module) -> Transform | None:
    """Return what turns images into the model's input: what `load_model` set, or a function in `model.transform`.

    A child module (torchvision's detectors have one), a method of the class or a value that is no function belongs to
    the network and is not used.
    """
    if has_fact(model, "transform"):
        return cast("Transform | None", get_fact(model, "transform"))
    own = vars(model).get("transform")  # neither children nor methods are in there
    return own if callable(own) else None


def _resolve(text: str) -> tuple[nn.Module, str | Transform | None]:
    if text in _BUNDLED:
        file, transform = _BUNDLED[text]
        model = convert_keras(bundled_path(file))
        note_fact(model, "trained_on", ("mnist", _weight(model)))
        return model, transform
    suffix = Path(text).suffix.lower()
    if suffix in _KERAS_SUFFIXES or is_unpacked(Path(text)):
        return convert_keras(Path(text)), None
    if suffix == ".onnx":
        return load_onnx(Path(text)), None
    if suffix in (".pt", ".pth", ".pt2", ".pkl", ".safetensors", ".ckpt", ".bin", ".tar"):
        raise ModelError(
            f"{text}: weights alone are no model: give 'package.module:factory' as the model, and weights={text!r} "
            f"(--weights {text}) beside it"
        )
    if text.startswith("torchvision:"):
        return _from_torchvision(text.removeprefix("torchvision:"))
    module, colon, factory = text.partition(":")
    if colon:
        return _from_factory(module, factory), None
    raise ModelError(f"model {text!r} leads nowhere: expected {_WAYS}")


def bundled_path(file: str) -> Path:
    """Return the path of a bundled file: inside the installed package, or in a checkout's `models/`."""
    package = Path(__file__).parents[1]
    for folder in (package / "_bundled", package.parent / "models"):
        if (folder / file).is_file():
            return folder / file
    raise ModelError(f"{file} is missing from this installation: reinstall torchviz-layers, or run from a checkout")


def _from_torchvision(text: str) -> tuple[nn.Module, Transform | None]:
    from torchvision import models

    name, _, weights_name = text.partition("@")
    if name not in models.list_models():
        near = difflib.get_close_matches(name, models.list_models())
        raise ModelError(f"torchvision has no model {name!r}; there are {', '.join(near or models.list_models())}")
    known = models.get_model_weights(name)
    if weights_name and weights_name not in known.__members__:
        raise ModelError(f"torchvision:{name} has no weights {weights_name!r}; it has {', '.join(known.__members__)}")
    weights = known[weights_name] if weights_name else None
    # Without weights these two would spend seconds on a start of their own that torchvision warns about.
    quick: dict[str, Any] = {"init_weights": False} if name in ("googlenet", "inception_v3") and weights is None else {}
    if weights is None and "weights_backbone" in inspect.signature(models.get_model_builder(name)).parameters:
        quick["weights_backbone"] = None  # detectors would fetch those by default
    try:
        model: nn.Module = models.get_model(name, weights=weights, **quick)
    except OSError as problem:
        raise ModelError(f"the weights of torchvision:{text} could not be fetched: {problem}") from problem
    return model, weights.transforms() if weights else None


def _from_factory(module: str, factory: str) -> nn.Module:
    spec = f"{module}:{factory}"
    if not all(part.isidentifier() for part in [*module.split("."), factory]):
        raise ModelError(f"model {spec!r} leads nowhere, names joined by dots are needed: expected {_WAYS}")
    made = _call(spec, lambda: getattr(importlib.import_module(module), factory, None))
    if made is None:
        raise ModelError(f"model {spec!r} leads nowhere ({module!r} has no {factory!r}): expected {_WAYS}")
    model = made if isinstance(made, nn.Module) else _call(spec, made)
    if not isinstance(model, nn.Module):
        raise ModelError(f"model {spec!r} gave {model!r}, which is no torch.nn.Module")
    return model


def _call(spec: str, code: Callable[[], Any]) -> Any:
    """Run the caller's own code; whatever it raises is an error of the model that it was to give."""
    try:
        return code()
    except ModuleNotFoundError as problem:
        raise ModelError(f"model {spec!r} leads nowhere ({problem}): expected {_WAYS}") from problem
    except Exception as problem:
        raise ModelError(f"model {spec!r} failed: {type(problem).__name__}: {problem}") from problem


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
    if wanted is not None and not shapes_agree(shape, wanted):
        raise ModelError(
            f"{name}: samples of shape {shape} do not fit, it wants {wanted}; give a transform "
            "(load_model(..., transform='pad=2') or --transform pad=2, for instance)"
        )


@contextmanager
def naming_model(name: str, image_shape: tuple[int, ...]) -> Iterator[None]:
    """Turn what a model raises on images (channels, height, width) into a `ModelError` that names both."""
    try:
        yield
    except TorchvizLayersError:
        raise
    except Exception as problem:  # the model's code is the caller's own
        reason = str(problem).partition("\n")[0] or type(problem).__name__
        raise ModelError(
            f"{name}: images of shape {image_shape} do not go through ({reason}); set model.transform, or --transform, "
            "where it wants others"
        ) from problem


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
        if shapes_agree(tuple((images if transform is None else transform(images)).shape[1:]), wanted):
            return words
    return None


def _input_shape(model: nn.Module) -> tuple[int | None, ...] | None:
    """Return the shape of one sample of the one input that a converted model has, where it is known."""
    shapes = get_fact(model, "input_shapes")
    return shapes[0] if isinstance(shapes, tuple) and len(shapes) == 1 else None


def shapes_agree(shape: tuple[int, ...], wanted: tuple[int | None, ...]) -> bool:
    """Say whether a shape is one that is wanted; None stands for any size."""
    return len(shape) == len(wanted) and all(want in (size, None) for size, want in zip(shape, wanted, strict=True))
