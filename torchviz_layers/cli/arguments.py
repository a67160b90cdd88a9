"""From the text of arguments to what the library takes."""

from __future__ import annotations

from collections.abc import Container
from pathlib import Path
from typing import Any

import click

from torchviz_layers._common.caller_code import make_current_folder_importable
from torchviz_layers._common.files import check_folder_writable
from torchviz_layers.exceptions import TorchvizLayersError

_GENERAL_CLASSES = ("Sequential", "GraphModule", "ScriptModule", "RecursiveScriptModule")


def reducer_from_options(name: str, seed: int | None, device: str) -> Any:
    """Make a reducer from `--reducer`, `--seed` and `--device`."""
    from torchviz_layers.reducers.registry import make_reducer_on

    # Not every reducer takes a seed, so that only one that was given is passed.
    options: dict[str, Any] = {}
    if seed is not None:
        options["random_state"] = seed
    elif name == "umap":
        options["random_state"] = 0
    return make_reducer_on(name, device, **options)


def split_name(spec: str) -> tuple[str, str]:
    """Split NAME=MODEL; without NAME the model is named after its file or its factory."""
    name, equals, model = spec.partition("=")
    # A path may contain an equals sign: `runs/lr=0.1/model.h5` has no NAME.
    if equals and name and "/" not in name:
        return name, model
    if Path(spec).suffix:
        return Path(spec).stem, spec
    return spec.rpartition(":")[2], spec


def shown_name(name: str, spec: str, model: Any, taken: Container[str]) -> str:
    """Return the name of a model on the page: of a factory without a NAME, the class of what it makes.

    A factory is often called "make" or "model". A class that any network may have tells less than the factory's name.
    """
    _, colon, factory = spec.rpartition(":")
    kind = type(model).__name__
    if not colon or name != factory or spec.startswith("torchvision:") or kind in _GENERAL_CLASSES:
        return name
    number, free = 1, kind
    while free in taken:
        number += 1
        free = f"{kind} ({number})"
    return free


def one_each(given: tuple[str, ...], models: tuple[str, ...]) -> tuple[str | None, ...]:
    """Return one value per model of an option that is given never, once for all models, or once per model."""
    if not given:
        return (None,) * len(models)
    if len(given) == 1:
        return given * len(models)
    if len(given) != len(models):
        raise click.UsageError(
            f"{' '.join(map(repr, given))} for {len(models)} models: give one value for all, or one per model"
        )
    return given


def open_model(spec: str, **options: Any) -> Any:
    """Load a model; a factory may be in the current folder, as with `python -m`."""
    from torchviz_layers.models import load_model

    if ":" in spec:
        make_current_folder_importable()
    return load_model(spec, **options)


def parse_layers(text: str | None) -> list[str] | None:
    """Split `--layers`; names, indices and globs are told apart later, when the layers are known."""
    if text is None:
        return None
    parts = [part.strip() for part in text.split(",")]
    if not all(parts):
        raise click.UsageError(
            f"--layers {text!r}: expected names, globs or indices separated by commas, such as conv_1,dense_0,-1"
        )
    return parts


def parse_shape(text: str) -> list[int]:
    """Split `--input-shape`."""
    parts = [part.strip() for part in text.split(",")]
    if not all(part.isdecimal() and int(part) for part in parts):
        raise click.UsageError(
            f"--input-shape {text!r}: expected positive numbers separated by commas, such as 3,224,224"
        )
    return [int(part) for part in parts]


def check_writable(out: Path) -> None:
    """Raise an error if a file cannot be written; called before the work, not after it."""
    try:
        check_folder_writable(out.parent)
    except OSError as problem:
        raise TorchvizLayersError(
            f"{out}: nothing can be written there ({problem.strerror}); choose another path"
        ) from problem


def set_input_shapes(module: Any, texts: tuple[str, ...], file: Path) -> None:
    """Set the input shapes of a converted module; they must agree with the shapes that its file contains."""
    from torchviz_layers._common.module_facts import get_fact, set_fact
    from torchviz_layers.models import shapes_agree

    own = get_fact(module, "input_shapes")
    given = tuple(tuple(parse_shape(text)) for text in texts)
    agree = len(own) == len(given)
    for shape, new in zip(own, given, strict=False):
        agree = agree and (shape is None or shapes_agree(new, shape))
    if not agree:
        raise click.UsageError(f"--input-shape {' '.join(texts)}: {file} takes {', '.join(map(str, own))}")
    set_fact(module, "input_shapes", given)
