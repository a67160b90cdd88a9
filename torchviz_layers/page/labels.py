"""Targets and predictions of any type -> class codes with names, or values for a colour scale; never rounded."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from torchviz_layers.exceptions import PageError

_MAX_NAMED_VALUES = 12  # up to so many different fractions are classes in a legend; more get a colour scale
_MAX_CODE = 9_999  # larger integers are values such as prices, not class codes


@dataclass(frozen=True)
class Labels:
    """What the points are coloured by.

    Parameters
    ----------
    targets
        Codes of the true classes of shape (n,), or None.
    probabilities
        Rows of shape (n, n_classes) whose largest entry is the predicted class, or None.
    names
        Names of the classes; empty if their numbers are their names.
    values
        Targets that are values instead of classes, of shape (n,), or None.
    """

    targets: NDArray[np.int64] | None = None
    probabilities: NDArray[np.float32] | None = None
    names: tuple[str, ...] = ()
    values: NDArray[np.float64] | None = None


def read_labels(targets: Any, predictions: Any, class_names: Sequence[str] | None) -> Labels:
    """Return the labels; raise `PageError` if the input is neither classes nor values, or its parts do not agree."""
    names = tuple(map(str, class_names or ()))
    truth, predicted = _column("targets", targets), _scores(predictions)
    given = [part for part in (truth, predicted) if part is not None]
    if any(part.dtype.kind == "U" for part in given):
        return _of_texts(truth, predicted, names)
    if truth is not None and truth.dtype.kind == "f":
        if predicted is not None:
            raise PageError("targets: fractions are not classes, so predictions cannot be compared with them; pass one")
        # Few different fractions are classes of their own names, such as the doses of an experiment.
        different, codes = np.unique(truth, return_inverse=True)
        if len(different) > _MAX_NAMED_VALUES:
            return Labels(values=truth.astype(np.float64))
        return Labels(targets=codes.astype(np.int64), names=tuple(map(str, different)))
    # Large integers are values, unless predictions or names show that they are codes.
    if truth is not None and predicted is None and not names and truth.max(initial=0) > _MAX_CODE:
        return Labels(values=truth.astype(np.float64))
    return Labels(truth, _one_hot(predicted), names)


def _of_texts(truth: NDArray[Any] | None, predicted: NDArray[Any] | None, names: tuple[str, ...]) -> Labels:
    """Return labels of which at least one part is text, as codes in the order of the names."""
    given = [part for part in (truth, predicted) if part is not None]
    texts = [part for part in given if part.dtype.kind == "U"]
    if not names:
        # Codes and scores have an order of their own, which sorted text labels may not have.
        if len(texts) < len(given):
            raise PageError("class_names: needed if only one of targets and predictions is text; pass their names")
        names = tuple(np.unique(np.concatenate(texts)).tolist())
    code_of = {name: code for code, name in enumerate(names)}
    used = np.unique(np.concatenate(texts)).tolist()
    unknown = [name for name in used if name not in code_of]
    if unknown:
        raise PageError(f"class_names: {unknown[0]!r} is a label but none of {', '.join(names[:8])}")

    def codes(part: NDArray[Any] | None) -> NDArray[Any] | None:
        if part is None or part.dtype.kind != "U":
            return part
        return np.array([code_of[name] for name in part.tolist()], np.int64)

    return Labels(codes(truth), _one_hot(codes(predicted)), names)


def _scores(predictions: Any) -> NDArray[Any] | None:
    """Return predicted classes (n,) or scores (n, n_classes); one probability per sample becomes two columns."""
    if predictions is None:
        return None
    scores = np.asarray(predictions)
    if scores.ndim != 2 or scores.dtype.kind not in "biuf":
        classes = _column("predictions", scores)
        if classes is not None and classes.dtype.kind == "f":
            raise PageError(
                "predictions: in shape (n,) they must be classes, integers or text; for one probability p per sample "
                "pass np.stack([1 - p, p], axis=1)"
            )
        return classes
    scores = scores.astype(np.float32)
    if scores.shape[1] != 1:
        return scores
    if not ((scores >= 0) & (scores <= 1)).all():
        raise PageError(
            f"predictions: one column from {scores.min():g} to {scores.max():g}, which is not a probability; pass "
            "classes of shape (n,) or scores of shape (n, n_classes)"
        )
    return np.hstack([1 - scores, scores])


def _column(what: str, given: Any) -> NDArray[Any] | None:
    """Return labels (n,) as int64, as text, or as floats if they are not integers."""
    if given is None:
        return None
    labels = np.asarray(given)
    if labels.dtype.kind == "O":  # a pandas column, or a list of mixed types
        labels = np.array(labels.tolist())
    if labels.ndim == 2 and labels.shape[1] == 1:
        labels = labels[:, 0]
    if labels.ndim != 1 or labels.dtype.kind not in "biufUT":
        raise PageError(
            f"{what}: {labels.dtype} of shape {labels.shape}; pass classes as integers or text, or values, one per "
            "sample"
        )
    if labels.dtype.kind in "UT":
        return labels.astype(np.str_)
    if labels.dtype.kind == "f":
        bad = int(np.count_nonzero(~np.isfinite(labels)))
        if bad:
            raise PageError(f"{what}: {bad} of {len(labels)} are NaN or infinite; leave these samples out")
        if (labels % 1 != 0).any():
            return labels
    return labels.astype(np.int64)


def _one_hot(codes: NDArray[Any] | None) -> NDArray[np.float32] | None:
    """Return classes (n,) as rows of zeros with a single 1; scores (n, n_classes) and None are returned unchanged."""
    if codes is None or codes.ndim == 2:
        return codes
    if codes.min(initial=0) < 0:
        raise PageError(f"predictions: {int(codes.min())} is negative; number the classes from 0")
    rows: NDArray[np.float32] = np.eye(int(codes.max(initial=0)) + 1, dtype=np.float32)[codes]
    return rows
