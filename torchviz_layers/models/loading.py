"""`load_model`: a bundled name, a file or a factory becomes a module with the transform of its inputs."""

from __future__ import annotations

import difflib
import inspect
import math
from pathlib import Path
from typing import Any, cast

from torch import nn

from torchviz_layers._common.caller_code import CallerCode
from torchviz_layers._common.module_facts import get_fact, has_fact, note_fact
from torchviz_layers.convert import convert_keras, load_onnx
from torchviz_layers.convert.keras_files.reading import is_unpacked
from torchviz_layers.exceptions import ModelError
from torchviz_layers.models.checkpoints import load_weights
from torchviz_layers.models.transforms import Transform, model_transform, parse_transform, set_transform


class LoadedModel(nn.Module):
    """The type that `load_model` is annotated with: a module of any class with an attribute `transform`."""

    transform: Transform | None


# Name -> its file in `models/`, and the transform that makes an MNIST image (1 x 28 x 28) its input.
_BUNDLED = {"mnist_dense128": ("MNIST_dense128.h5", "squeeze"), "mnist_lenet60": ("MNIST_LeNet60.h5", "pad=2")}
_KERAS_SUFFIXES = {".h5", ".hdf5", ".keras"}
_EXPECTED = (
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
        Keras; an `.onnx` file; `package.module:factory`, imported and called (an `nn.Module` of that name is used as it
        is); or `torchvision:ARCHITECTURE@WEIGHTS` (without `@WEIGHTS`: randomly initialised).
    transform : str or callable, optional
        What turns a batch of images (n, channels, height, width) into the model's input: a function, or text for
        `parse_transform`. It becomes the module's attribute `transform`, unless the module has one of its own. Bundled
        models and torchvision weights have a default; so has a factory that sets a function as `module.transform`
        ("none" ignores it).
    weights : str or Path, optional
        A checkpoint for a model that is not a file itself: `.safetensors`, or a state dict that `torch.save` wrote, by
        itself or under a key such as `state_dict` or `model`. Other content (options, counts, the optimizer) is not
        imported, and no code in the file runs. Prefixes such as `module.`, `_orig_mod.`, `model.` or `net.` are removed
        where the keys are exactly the model's without them. Shared weights may be saved once.

    Returns
    -------
    nn.Module
        In eval mode, with the attribute `transform` (None where images go in as they are). If the module has an
        attribute of that name already, a detector's child module say, it is not changed;
        `torchviz_layers.models.model_transform` returns the transform of any module.

    Raises
    ------
    ModelError
        If there is no such model, or the checkpoint does not fit.
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
    if isinstance(chosen, str):
        set_transform(model, parse_transform(chosen))
    elif chosen is not None or has_fact(model, "transform") or model_transform(model) is None:
        # None is set too: over the transform of an earlier load of the same module, and so that the attribute exists.
        # Only a function that a factory has put in `model.transform` is kept.
        set_transform(model, chosen)
    return cast(LoadedModel, model.eval())


def trained_on(model: nn.Module) -> str | None:
    """Return the dataset that a bundled model was trained on; None for other models, and once its weights changed."""
    known = get_fact(model, "trained_on")
    if known is None:
        return None
    dataset, size_then = known
    return str(dataset) if math.isclose(size_then, _sum_of_sizes(model), rel_tol=1e-6) else None


def _sum_of_sizes(model: nn.Module) -> float:
    """Return the sum of all weights' absolute values: training changes it, moving to another device does not."""
    return sum(float(value.detach().double().abs().sum()) for value in model.parameters())


def _resolve(text: str) -> tuple[nn.Module, str | Transform | None]:
    """Return the model that a specification names, and the transform that comes with it."""
    if text in _BUNDLED:
        file, transform = _BUNDLED[text]
        model = convert_keras(bundled_path(file))
        note_fact(model, "trained_on", ("mnist", _sum_of_sizes(model)))
        return model, transform
    suffix = Path(text).suffix.lower()
    if suffix in _KERAS_SUFFIXES or is_unpacked(Path(text)):
        return convert_keras(Path(text)), None
    if suffix == ".onnx":
        return load_onnx(Path(text)), None
    if suffix in (".pt", ".pth", ".pt2", ".pkl", ".safetensors", ".ckpt", ".bin", ".tar"):
        raise ModelError(
            f"{text}: weights alone are no model: give 'package.module:factory' as the model, and weights={text!r} "
            f"(--weights {text}) with it"
        )
    if text.startswith("torchvision:"):
        return _from_torchvision(text.removeprefix("torchvision:"))
    if ":" in text:
        return _from_factory(text), None
    raise ModelError(f"model {text!r} was not found: expected {_EXPECTED}")


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
    options: dict[str, Any] = {}
    if weights is None:
        if name in ("googlenet", "inception_v3"):
            options["init_weights"] = False  # their own initialisation takes seconds, and torchvision warns about it
        if "weights_backbone" in inspect.signature(models.get_model_builder(name)).parameters:
            options["weights_backbone"] = None  # by default, detectors download those
    try:
        model: nn.Module = models.get_model(name, weights=weights, **options)
    except OSError as problem:
        raise ModelError(f"the weights of torchvision:{text} could not be fetched: {problem}") from problem
    return model, weights.transforms() if weights else None


def _from_factory(spec: str) -> nn.Module:
    code = CallerCode(spec, "model", ModelError, _EXPECTED)
    found = code.find()
    model = found if isinstance(found, nn.Module) else code.run(found)
    if not isinstance(model, nn.Module):
        raise ModelError(f"model {spec!r} returned {model!r}, which is no torch.nn.Module")
    return model
