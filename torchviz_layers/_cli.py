"""What the commands do with the words that they are given."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from torchviz_layers.exceptions import DataError


def asked_reducer(name: str, seed: int | None, device: str) -> Any:
    """Make a reducer, passing on only what was asked for: not every one takes a seed or a device."""
    from torchviz_layers.reduce import make_reducer

    seed = 0 if seed is None and name == "umap" else seed
    asked = {"random_state": seed, "device": None if device == "auto" else device}
    return make_reducer(name, **{option: value for option, value in asked.items() if value is not None})


def load_data(spec: str | None, **options: Any) -> Any:
    """Load the samples that `--data` names."""
    from torchviz_layers.data import parse_data_spec

    if spec is None:
        raise DataError("--data is missing: mnist, fashion-mnist, cifar10, digits, a folder of class folders, an .npz")
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
        raise click.UsageError(f"{len(given)} values for {len(models)} models: give one for all, or one a model")
    return given


def fit_images(name: str, model: Any, image_shape: tuple[int, int, int]) -> None:
    """Give a converted model the one lossless transform that its input shape asks for, and say so."""
    from torchviz_layers.models import fitting_transform, parse_transform

    words = fitting_transform(model, image_shape) if model.transform is None else None
    if words not in (None, "none"):
        model.transform = parse_transform(words)
        click.echo(f"{name}: images {image_shape} fit by --transform {words}")


def parse_layers(text: str | None) -> list[str | int] | None:
    """Split `--layers`: names, and indices as numbers."""
    if text is None:
        return None
    return [int(part) if part.lstrip("-").isdecimal() else part for part in text.split(",")]


def parse_shape(text: str) -> list[int]:
    """Split `--input-shape`."""
    try:
        return [int(part) for part in text.split(",")]
    except ValueError as problem:
        raise click.UsageError(f"--input-shape {text!r}: numbers joined by commas expected, as 3,224,224") from problem
