"""Targets and predictions of any type as class codes with names, or as values with a colour scale; never rounded."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from torchviz_layers.exceptions import PageError

_FEW = 12  # so many different fractions are names in a legend; more are points on a scale
_MOST_CLASSES = 9_999  # larger whole numbers are prices or years, not codes


@dataclass(frozen=True)
class Labels:
    """What colours the points.

    Parameters
    ----------
    targets
        Codes of the true classes of shape (n,), or None.
    probabilities
        Rows of shape (n, n_classes) whose largest entry is the predicted class, or None.
    names
        Names of the classes; empty where numbers are enough.
    values
        Targets that are values rather than classes, of shape (n,), or None.
    """

    targets: NDArray[np.int64] | None = None
    probabilities: NDArray[np.float32] | None = None
    names: tuple[str, ...] = ()
    values: NDArray[np.float64] | None = None


def read_labels(targets: Any, predictions: Any, class_names: Sequence[str] | None) -> Labels:
    """Return the labels; raise `PageError` where what was given is neither classes nor values, or does not fit."""
    names = tuple(map(str, class_names or ()))
    truth, said = _column("targets", targets), _scores(predictions)
    texts = [part for part in (truth, said) if part is not None and part.dtype.kind == "U"]
    if texts:
        return _of_texts(truth, said, names)
    if truth is not None and truth.dtype.kind == "f":
        if said is not None:
            raise PageError("targets: they are no whole numbers, so no classes to compare predictions with; pass one")
        different, codes = np.unique(truth, return_inverse=True)
        if len(different) > _FEW:
            return Labels(values=truth.astype(np.float64))
        return Labels(targets=codes.astype(np.int64), names=tuple(map(str, different)))
    if truth is not None and said is None and not names and truth.max(initial=0) > _MOST_CLASSES:
        return Labels(values=truth.astype(np.float64))
    return Labels(truth, None if said is None else _one_hot(said), names)


def _of_texts(truth: NDArray[Any] | None, said: NDArray[Any] | None, names: tuple[str, ...]) -> Labels:
    parts = [part for part in (truth, said) if part is not None and part.ndim == 1]
    given = [part for part in parts if part.dtype.kind == "U"]
    if not names:
        if len(given) < (truth is not None) + (said is not None):
            raise PageError("class_names: needed where targets or predictions are text and the other are numbers")
        names = tuple(np.unique(np.concatenate(given)).tolist())
    code_of = {name: code for code, name in enumerate(names)}
    if unknown := sorted({name for part in given for name in part.tolist()} - code_of.keys()):
        raise PageError(f"class_names: {unknown[0]!r} is a label but none of {', '.join(names[:8])}")

    def codes(part: NDArray[Any]) -> NDArray[np.int64]:
        return np.array([code_of[name] for name in part.tolist()], np.int64) if part.dtype.kind == "U" else part

    said = codes(said) if said is not None and said.ndim == 1 else said
    return Labels(None if truth is None else codes(truth), None if said is None else _one_hot(said), names)


def _scores(predictions: Any) -> NDArray[Any] | None:
    """Return predicted classes (n,), or scores (n, n_classes); one probability a sample becomes two columns."""
    if predictions is None:
        return None
    scores = np.asarray(predictions)
    if scores.ndim != 2 or scores.dtype.kind not in "biuf":
        classes = _column("predictions", scores)
        if classes is not None and classes.dtype.kind == "f":
            raise PageError(
                "predictions: of shape (n,) they are classes, whole numbers or text; of one probability p a sample "
                "pass np.stack([1 - p, p], axis=1)"
            )
        return classes
    scores = scores.astype(np.float32)
    if scores.shape[1] != 1:
        return scores
    if not ((scores >= 0) & (scores <= 1)).all():
        raise PageError(
            f"predictions: one column from {scores.min():g} to {scores.max():g}, which is no probability; pass classes "
            "of shape (n,) or scores of shape (n, n_classes)"
        )
    return np.hstack([1 - scores, scores])


def _column(what: str, given: Any) -> NDArray[Any] | None:
    """Return labels (n,) as int64, as text, or as floats where they are no whole numbers."""
    if given is None:
        return None
    labels = np.asarray(given)
    if labels.dtype.kind == "O":  # a pandas column, a list of mixed types
        labels = np.array(labels.tolist())
    if labels.ndim == 2 and labels.shape[1] == 1:
        labels = labels[:, 0]
    if labels.ndim != 1 or labels.dtype.kind not in "biufUT":
        raise PageError(
            f"{what}: {labels.dtype} of shape {labels.shape}; pass classes as whole numbers or text, or values, one a "
            "sample"
        )
    if labels.dtype.kind in "UT":
        return labels.astype(np.str_)
    if labels.dtype.kind == "f":
        if bad := int(np.count_nonzero(~np.isfinite(labels))):
            raise PageError(f"{what}: {bad} of {len(labels)} are NaN or infinite; leave these samples out")
        if (labels % 1 != 0).any():
            return labels
    return labels.astype(np.int64)


def _one_hot(codes: NDArray[Any]) -> NDArray[np.float32]:
    """Return classes (n,) as rows of 0 and one 1; what already has a column a class is returned as it is."""
    if codes.ndim == 2:
        return codes
    if codes.min(initial=0) < 0:
        raise PageError(f"predictions: {int(codes.min())} is negative; number the classes from 0")
    rows: NDArray[np.float32] = np.eye(int(codes.max(initial=0)) + 1, dtype=np.float32)[codes]
    return rows
