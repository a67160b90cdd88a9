"""Whether the samples fit a model, and errors of the model that name it and them."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import click

from torchviz_layers.exceptions import ModelError, TorchvizLayersError

if TYPE_CHECKING:
    from torchviz_layers.data import Samples


def fit_inputs(name: str, model: Any, samples: Samples, transform: str | None = None) -> Any:
    """Return a few samples as the model's input.

    Pictures with values in [0, 1] go through the model's transform. A converted model without one gets the one that
    fits them without loss, if there is one, unless the user chose `transform`. Other samples go in as they come. A
    shape that does not fit is an error that names model and shape.
    """
    from torchviz_layers._common.nested import describe

    inputs = next(samples.batches(1))[0]
    if samples.unit_pictures:
        return _fit_pictures(name, model, inputs, transform)
    if transform not in (None, "none"):
        raise ModelError(
            f"{name}: --transform {transform} is for pictures with values in [0, 1]; {samples.name} is "
            f"{describe(inputs)}, shown as {samples.view}, and goes in as it comes: leave it out"
        )
    _check_shape(name, model, inputs)
    return inputs


def _fit_pictures(name: str, model: Any, pictures: Any, transform: str | None) -> Any:
    """Return pictures (n, channels, height, width) as the model's input."""
    from torchviz_layers.models import check_input, fitting_transform, model_transform, parse_transform, set_transform

    shape = tuple(pictures.shape[1:])
    if model_transform(model) is None and transform is None:
        spec = fitting_transform(model, shape)
        if spec not in (None, "none"):
            set_transform(model, parse_transform(spec))
            click.echo(f"{name}: images {shape} fit by --transform {spec}")
    chosen = model_transform(model)
    with naming_inputs(name, pictures):
        inputs = pictures if chosen is None else chosen(pictures)
    check_input(model, tuple(inputs.shape[1:]), name)
    return inputs


def _check_shape(name: str, model: Any, inputs: Any) -> None:
    """Raise `ModelError` if a converted model takes samples of another shape."""
    from torch import Tensor

    from torchviz_layers.models.inputs import input_shape, shapes_agree

    wanted = input_shape(model)
    if wanted is None or not isinstance(inputs, Tensor) or shapes_agree(tuple(inputs.shape[1:]), wanted):
        return
    raise ModelError(
        f"{name}: samples of shape {tuple(inputs.shape[1:])} do not fit, it wants {wanted}; give data of that shape, "
        "or --data module:make, a function that returns them"
    )


@contextmanager
def naming_inputs(name: str, inputs: Any) -> Iterator[None]:
    """Turn any error of the model's own code into a `ModelError` that names the model and describes its inputs."""
    from torchviz_layers.extraction.naming import naming

    try:
        yield
    except TorchvizLayersError:
        raise
    except Exception as problem:  # the model's code is the caller's and may raise anything
        with naming(name, inputs):
            raise problem
