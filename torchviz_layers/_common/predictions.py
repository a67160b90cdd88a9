"""A network's final output as class probabilities, or the reason why it is none."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch

from torchviz_layers._common.arrays import Array


def as_probabilities(outputs: Any) -> Array | None:
    """Return a network's final output as class probabilities (n_samples, n_classes), or None if it is not that.

    One value in [0, 1] for each sample, of shape (n,) or (n, 1), is the probability of the second of two classes. Rows
    of several values that do not sum to 1 are taken for logits and go through softmax.
    """
    return read_outputs(outputs)[0]


def read_outputs(outputs: Any) -> tuple[Array | None, str]:
    """Return the class probabilities or None, and why there are none or what to know about them (else "")."""
    if outputs is None:
        return None, "the final output is not one tensor with a row for each sample"
    shape = tuple(outputs.shape)
    if len(shape) not in (1, 2) or 0 in shape:
        return None, f"the output of a sample has the shape {shape[1:]}; class scores are one row"
    values = np.asarray(outputs, np.float32)
    if len(shape) == 1 or shape[1] == 1:
        return _of_one_unit(values.reshape(-1))
    if (values >= 0).all() and np.allclose(values.sum(1), 1, atol=1e-3):
        return values, ""
    note = ""
    # Logits rarely are all in [0, 1]; the outputs of one sigmoid a class always are.
    if (values >= 0).all() and (values <= 1).all():
        note = (
            "the outputs are all in [0, 1], but do not sum to 1: they are taken for logits, so that only their order "
            "counts, not how sure the probabilities look"
        )
    return torch.from_numpy(values).softmax(1).numpy(), note


def _of_one_unit(values: Array) -> tuple[Array | None, str]:
    """Read one value for each sample (n,): only a probability can be recognised, by its range."""
    if ((values >= 0) & (values <= 1)).all():
        return np.stack([1 - values, values], axis=1), ""
    low, high = values.min(), values.max()
    return None, (
        f"the output is one value a sample, from {low:.3g} to {high:.3g}: no probability, and whether it is a logit or "
        "a regression cannot be known; if it is a logit, end the network with nn.Sigmoid()"
    )


def probabilities_for(name: str, outputs: Any, class_names: Sequence[str]) -> tuple[Array | None, list[str]]:
    """Return a network's probabilities of the samples' classes or None, and notes for the user."""
    probabilities, reason = read_outputs(outputs)
    if probabilities is None:
        return None, [f"{name} is shown without predictions: {reason}"]
    n_classes = probabilities.shape[1]
    if class_names and n_classes != len(class_names):
        return None, [f"{name} has {n_classes:,} classes, the samples have {len(class_names)}"]
    notes = [f"{name}: {reason}"] if reason else []
    return probabilities, notes


def predicted_classes(outputs: Any) -> Array | None:
    """Return the predicted class of each sample (n_samples,), or None if the outputs are no class scores."""
    probabilities = as_probabilities(outputs)
    return None if probabilities is None else np.asarray(probabilities.argmax(1))
