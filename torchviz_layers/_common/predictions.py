"""A network's final output as what a page shows of it: probabilities, predicted values, or the reason for neither."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from torchviz_layers._common.arrays import Array, as_numpy


@dataclass(frozen=True)
class Predictions:
    """What a network predicts for each sample; without probabilities and values, `notes` says why.

    Attributes
    ----------
    probabilities : float32 of shape (n_samples, n_classes), or None
        Probabilities of the classes. In a multi-label task each column is the probability of one label, and rows need
        not sum to 1.
    values : float32 of shape (n_samples,), or None
        Predicted values of a regression.
    notes : tuple of str
        Sentences for the reader, each with the network's name.
    """

    probabilities: Array | None = None
    values: Array | None = None
    notes: tuple[str, ...] = ()


def predictions_for(
    name: str,
    outputs: Any,
    task: str | None,
    class_names: Sequence[str] = (),
    *,
    names_assumed: bool = False,
) -> Predictions:
    """Return what a network's final output predicts. A row with NaN or infinity stays, and a note counts such rows.

    Parameters
    ----------
    name
        The network's name, for the notes.
    outputs
        Its final output: an array or tensor with a row for each sample, or anything else, which is no prediction.
    task
        "classification", "regression", "multilabel", or None where nothing is known about the samples; then outputs
        that look like class scores are taken for them.
    class_names
        Names of the classes, or of the labels of a multi-label task; () where they are not known.
    names_assumed
        Whether the names were made up from the labels that occur among the samples. If they are numbers, the network
        may have more classes; sorted text of which some is missing would name the wrong ones.
    """
    if task == "regression":
        values, reason = read_values(outputs)
        return _predictions(name, None, values, reason)
    if task == "multilabel":
        probabilities, reason = read_label_probabilities(outputs, len(class_names))
        return _predictions(name, probabilities, None, reason)
    probabilities, reason = read_outputs(outputs)
    if probabilities is not None and class_names:
        n_classes = probabilities.shape[1]
        are_numbers = list(class_names) == [str(code) for code in range(len(class_names))]
        may_be_more = names_assumed and are_numbers
        if n_classes < len(class_names) or (n_classes > len(class_names) and not may_be_more):
            return Predictions(notes=(f"{name} has {n_classes:,} classes, the samples have {len(class_names)}",))
    return _predictions(name, probabilities, None, reason)


def _predictions(name: str, probabilities: Array | None, values: Array | None, reason: str) -> Predictions:
    found = probabilities if values is None else values
    if found is None:
        return Predictions(notes=(f"{name} is shown without predictions: {reason}",))
    notes = [f"{name}: {reason}"] if reason else []
    missing = len(found) - int(np.count_nonzero(_finite_rows(found)))
    if missing:
        notes.append(f"{name}: the outputs of {missing:,} of {len(found):,} samples contain NaN or infinity")
    return Predictions(probabilities, values, tuple(notes))


def as_probabilities(outputs: Any) -> Array | None:
    """Return a network's final output as class probabilities (n_samples, n_classes), or None if it is not that.

    One value in [0, 1] for each sample, of shape (n,) or (n, 1), is the probability of the second of two classes. Rows
    of several values that do not sum to 1 are taken for logits and go through softmax.
    """
    return read_outputs(outputs)[0]


def read_outputs(outputs: Any) -> tuple[Array | None, str]:
    """Return the class probabilities or None, and why there are none or what to know about them (else "").

    A row with NaN or infinity is all NaN.
    """
    table, reason = _table(outputs, "class scores are one row")
    if table is None:
        return None, reason
    finite = _finite_rows(table)
    if not finite.any():
        return None, "the outputs of all samples contain NaN or infinity"
    if table.shape[1] == 1:
        return _of_one_unit(table[:, 0])
    values = table[finite]
    if (values >= 0).all() and np.allclose(values.sum(1), 1, atol=1e-3):
        return _with_gaps(values, finite), ""
    note = ""
    # Logits rarely are all in [0, 1]; the outputs of one sigmoid a class always are.
    if (values >= 0).all() and (values <= 1).all():
        note = (
            "the outputs are all in [0, 1], but do not sum to 1: they are taken for logits, so that only their order "
            "counts, not how sure the probabilities look"
        )
    return _with_gaps(torch.from_numpy(values).softmax(1).numpy(), finite), note


def read_values(outputs: Any) -> tuple[Array | None, str]:
    """Return the predicted values of a regression (n_samples,) or None, and why there are none (else "")."""
    table, reason = _table(outputs, "a predicted value is one number")
    if table is None:
        return None, reason
    if table.shape[1] > 1:
        return None, f"the output is {table.shape[1]:,} values a sample, a predicted value is one"
    if not _finite_rows(table).any():
        return None, "the outputs of all samples contain NaN or infinity"
    return table[:, 0], ""


def read_label_probabilities(outputs: Any, n_labels: int) -> tuple[Array | None, str]:
    """Return the probability of each label (n_samples, n_labels) or None, and why there are none or a remark (else "").

    Outputs that are all in [0, 1] are probabilities, others logits; `n_labels` of 0 means that any width fits.
    """
    table, reason = _table(outputs, "the probabilities of labels are one row")
    if table is None:
        return None, reason
    width = table.shape[1]
    if n_labels and width != n_labels:
        return None, f"the output is {width:,} values a sample, the samples have {n_labels:,} labels"
    finite = _finite_rows(table)
    if not finite.any():
        return None, "the outputs of all samples contain NaN or infinity"
    values = table[finite]
    if (values >= 0).all() and (values <= 1).all():
        return _with_gaps(values, finite), ""
    probabilities = torch.from_numpy(values).sigmoid().numpy()
    return _with_gaps(probabilities, finite), "the outputs are taken for logits: the probabilities are their sigmoid"


def predicted_classes(outputs: Any) -> Array | None:
    """Return the predicted class of each sample (n_samples,), or None if the outputs are no class scores."""
    probabilities = as_probabilities(outputs)
    return None if probabilities is None else np.asarray(np.nan_to_num(probabilities).argmax(1))


def _table(outputs: Any, rule: str) -> tuple[Array | None, str]:
    """Return outputs as float32 (n_samples, n_outputs), or None and the reason."""
    if outputs is None or not hasattr(outputs, "shape"):
        return None, (
            "the final output is not one tensor with a row for each sample; where one of several is the scores, wrap "
            "the network in a module that returns it alone"
        )
    shape = tuple(outputs.shape)
    if len(shape) not in (1, 2):
        return None, f"the output of a sample has the shape {shape[1:]}; {rule}"
    if 0 in shape:
        return None, "the final output is empty"
    values = as_numpy(outputs)
    if values.dtype.kind not in "fiub":
        return None, f"the final output holds {values.dtype}, not real numbers"
    with np.errstate(over="ignore"):  # what float32 cannot hold is infinite, and counted as such
        return values.reshape(len(values), -1).astype(np.float32), ""


def _of_one_unit(values: Array) -> tuple[Array | None, str]:
    """Read one value for each sample (n,): only a probability can be recognised, by its range."""
    if ((values >= 0) & (values <= 1)).all():
        return np.stack([1 - values, values], axis=1), ""
    if not np.isfinite(values).all():
        return None, "the output is one value a sample, and some are NaN or infinite"
    low, high = values.min(), values.max()
    return None, (
        f"the output is one value a sample, from {low:.3g} to {high:.3g}: no probability, and whether it is a logit or "
        "a regression cannot be known; if it is a logit, end the network with nn.Sigmoid()"
    )


def _finite_rows(values: Array) -> Array:
    """Return which samples' values (n,) or (n, k) are all finite, (n,)."""
    return np.asarray(np.isfinite(values.reshape(len(values), -1)).all(axis=1))


def _with_gaps(values: Array, finite: Array) -> Array:
    """Return the rows `values` at the places where the mask (n,) is True, and NaN at the others."""
    if finite.all():
        return values
    table = np.full((len(finite), values.shape[1]), np.nan, np.float32)
    table[finite] = values
    return table
