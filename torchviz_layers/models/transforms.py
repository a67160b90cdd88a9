"""Transforms: what turns a batch of images into a model's input, as text, on the model, and found by trying."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import cast

import torch
from torch import nn

from torchviz_layers._common.module_facts import get_fact, has_fact, set_fact
from torchviz_layers.exceptions import ModelError
from torchviz_layers.models.inputs import input_shape, shapes_agree

Transform = Callable[[torch.Tensor], torch.Tensor]


def set_transform(model: nn.Module, transform: Transform | None) -> None:
    """Set the function that turns images into the model's input; the module's own `transform`, if any, is kept."""
    set_fact(model, "transform", transform)


def model_transform(model: nn.Module) -> Transform | None:
    """Return the function that turns images into the model's input, or None where images go in as they are.

    It is what `load_model` set, or a function in `model.transform`. A child module of that name (torchvision's
    detectors have one), a method of the class or any other value is part of the network and is not used.
    """
    if has_fact(model, "transform"):
        return cast("Transform | None", get_fact(model, "transform"))
    own = vars(model).get("transform")  # which has neither child modules nor methods
    return own if callable(own) else None


def parse_transform(text: str) -> Transform | None:
    """Read a chain of image transforms, joined by `+`.

    `pad=2` adds two rows or columns of zeros on every side, `resize=32` scales to a square of 32 px, `squeeze` removes
    a channel axis of length one, `channels_last` moves the channel axis to the end, `flatten` makes rows, `gray`
    averages the channels, `rgb` repeats one channel three times; `none` changes nothing.

    Examples
    --------
    >>> parse_transform("resize=32+rgb")(torch.zeros(1, 1, 28, 28)).shape
    torch.Size([1, 3, 32, 32])
    """
    names = [name.strip() for name in text.split("+")]
    steps = [_parse_step(name, text) for name in names if name != "none"]
    if len(steps) > 1:
        return partial(_chain, steps)
    return steps[0] if steps else None


def _chain(steps: list[Transform], images: torch.Tensor) -> torch.Tensor:
    for step in steps:
        images = step(images)
    return images


def _parse_step(step: str, text: str) -> Transform:
    """Return the transform of one step; partials of PyTorch's functions, because those can be pickled."""
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


def fitting_transform(model: nn.Module, image_shape: tuple[int, ...]) -> str | None:
    """Return the text of a transform that makes images fit a converted model without losing anything, if there is one.

    Only removing or moving a channel axis and a border of at most four zeros are proposed; anything else is for the
    caller to decide. `image_shape` is (channels, height, width).
    """
    wanted = input_shape(model)
    if wanted is None:
        return None
    # From the least change to the largest: the first that fits is proposed.
    for text in ("none", "squeeze", "channels_last", "pad=1", "pad=2", "pad=3", "pad=4"):
        transform = parse_transform(text)
        inputs = torch.zeros(1, *image_shape)
        if transform is not None:
            inputs = transform(inputs)
        if shapes_agree(tuple(inputs.shape[1:]), wanted):
            return text
    return None
