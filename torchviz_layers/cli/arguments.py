"""What the commands do with the words that they are given."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import click

from torchviz_layers._common.files import check_folder_writable
from torchviz_layers.exceptions import TorchvizLayersError


def asked_reducer(name: str, seed: int | None, device: str) -> Any:
    """Make a reducer, passing on only what was asked for: not every one takes a seed or a device."""
    from torchviz_layers.reducers import make_reducer

    seed = 0 if seed is None and name == "umap" else seed
    asked = {"random_state": seed, "device": None if device == "auto" else device}
    return make_reducer(name, **{option: value for option, value in asked.items() if value is not None})


def load_data(spec: str | None, **options: Any) -> Any:
    """Load the samples that `--data` names."""
    from torchviz_layers.data import parse_data_spec

    if spec is None:
        raise click.UsageError(
            "--data is missing: mnist, fashion-mnist, cifar10, digits, a folder of class folders, an .npz"
        )
    return parse_data_spec(spec, **options)


def split_name(spec: str) -> tuple[str, str]:
    """Split NAME=MODEL; without a name take what the model's spec calls it."""
    name, equals, rest = spec.partition("=")
    if equals and name and "/" not in name:
        return name, rest
    return Path(spec).stem if Path(spec).suffix else spec.rpartition(":")[2], spec


def one_each(given: tuple[str, ...], models: tuple[str, ...]) -> tuple[str | None, ...]:
    """Spread an option that is given not at all, once for all, or once a model."""
    if len(given) in (0, 1):
        return (given[0] if given else None,) * len(models)
    if len(given) != len(models):
        raise click.UsageError(
            f"{' '.join(map(repr, given))} for {len(models)} models: give one value for all, or one a model"
        )
    return given


def open_model(spec: str, **options: Any) -> Any:
    """Load a model; a factory may be in the folder that one is in, as with `python -m`."""
    from torchviz_layers.models import load_model

    if ":" in spec and str(Path.cwd()) not in sys.path:
        sys.path.append(str(Path.cwd()))  # last, so that no file in it is taken for a library
    return load_model(spec, **options)


def fit_images(name: str, model: Any, samples: Any, *, transformed: bool = False) -> Any:
    """Return a sample as the model's input; give a converted model the one lossless transform that it asks for.

    Where a transform is given or none fits, a wrong shape is an error that names both.
    """
    from torchviz_layers.models import check_input, fitting_transform, model_transform, parse_transform, set_transform

    shape = samples.images.shape[1:]
    words = fitting_transform(model, shape) if model_transform(model) is None and not transformed else None
    if words is not None and words != "none":
        set_transform(model, parse_transform(words))
        click.echo(f"{name}: images {shape} fit by --transform {words}")
    example = next(samples.batches(1, model_transform(model)))[0]
    check_input(model, tuple(example.shape[1:]), name)
    return example


def parse_layers(text: str | None) -> list[str] | None:
    """Split `--layers`; which parts are names, indices or globs is known once the layers are (`_selectors`)."""
    if text is None:
        return None
    parts = [part.strip() for part in text.split(",")]
    if not all(parts):
        raise click.UsageError(
            f"--layers {text!r}: names, globs or indices joined by commas expected, as conv_1,dense_0,-1"
        )
    return parts


def parse_shape(text: str) -> list[int]:
    """Split `--input-shape`."""
    parts = [part.strip() for part in text.split(",")]
    if not all(part.isdecimal() and int(part) for part in parts):
        raise click.UsageError(f"--input-shape {text!r}: positive numbers joined by commas expected, as 3,224,224")
    return [int(part) for part in parts]


def check_writable(out: Path) -> None:
    """Make the folder that a file is to be written to and write into it: before the work, not after it."""
    try:
        check_folder_writable(out.parent)
    except OSError as problem:
        raise TorchvizLayersError(
            f"{out}: nothing can be written there ({problem.strerror}); choose another place"
        ) from problem


def take_shapes(module: Any, texts: tuple[str, ...], file: Path) -> None:
    """Give a converted module the input shapes that its file does not tell; what the file tells is held to."""
    from torchviz_layers._common.module_facts import get_fact, set_fact
    from torchviz_layers.models import shapes_agree

    own, given = get_fact(module, "input_shapes"), tuple(tuple(parse_shape(text)) for text in texts)
    agree = [shape is None or shapes_agree(new, shape) for shape, new in zip(own, given, strict=False)]
    if len(own) != len(given) or not all(agree):
        raise click.UsageError(f"--input-shape {' '.join(texts)}: {file} takes {', '.join(map(str, own))}")
    set_fact(module, "input_shapes", given)
