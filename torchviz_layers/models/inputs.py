"""Whether samples fit a model: shapes that are known, and errors that name the model."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from torch import nn

from torchviz_layers._common.module_facts import get_fact
from torchviz_layers.exceptions import ModelError, TorchvizLayersError


def input_shape(model: nn.Module) -> tuple[int | None, ...] | None:
    """Return the shape of a sample for a converted model with one input; None for other models."""
    shapes = get_fact(model, "input_shapes")
    return shapes[0] if isinstance(shapes, tuple) and len(shapes) == 1 else None


def shapes_agree(shape: tuple[int, ...], wanted: tuple[int | None, ...]) -> bool:
    """Return whether a shape is as wanted, where None is any size."""
    if len(shape) != len(wanted):
        return False
    return all(want in (size, None) for size, want in zip(shape, wanted, strict=True))


def check_input(model: nn.Module, shape: tuple[int, ...], name: str = "model") -> None:
    """Raise `ModelError` if a sample's shape is not the one that a converted model was made for.

    A pooling layer of PyTorch accepts many sizes that Keras refuses. Models that were not converted are not checked.
    """
    wanted = input_shape(model)
    if wanted is not None and not shapes_agree(shape, wanted):
        raise ModelError(
            f"{name}: samples of shape {shape} do not fit, it wants {wanted}; give a transform "
            "(load_model(..., transform='pad=2') or --transform pad=2, for instance)"
        )


@contextmanager
def naming_model(name: str, image_shape: tuple[int, ...]) -> Iterator[None]:
    """Turn any error of the block into a `ModelError` that names the model and the image shape (c, h, w)."""
    try:
        yield
    except TorchvizLayersError:
        raise
    except Exception as problem:  # the model's code is the caller's and may raise anything
        reason = str(problem).partition("\n")[0] or type(problem).__name__
        raise ModelError(
            f"{name}: images of shape {image_shape} do not go through ({reason}); set model.transform, or --transform, "
            "where it wants others"
        ) from problem
