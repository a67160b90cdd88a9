"""How well a network predicts: of values and of sets of labels, from arrays alone."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True)
class ValueScores:
    """How close predicted values are to the true ones; None for what is not defined.

    Parameters
    ----------
    r2
        Coefficient of determination, at most 1; it is not defined if all true values are the same.
    mean_error, median_error
        Mean and median of the absolute residuals, in the target's unit.
    count
        Number of samples with a true value.
    not_finite
        Number of predictions that are NaN or infinite; the others are the ones that the scores are of.
    """

    r2: float | None
    mean_error: float | None
    median_error: float | None
    count: int
    not_finite: int

    @classmethod
    def of(cls, residuals: NDArray[np.float64], values: NDArray[np.float64]) -> ValueScores:
        """Return the scores of residuals (n,) of true values (n,), both NaN for a sample without a true value.

        A residual that is infinite belongs to a prediction that is not finite.
        """
        usable = np.isfinite(residuals)
        count = int(np.count_nonzero(~np.isnan(residuals)))
        not_finite = int(np.count_nonzero(np.isinf(residuals)))
        if not usable.any():
            return cls(None, None, None, count, not_finite)
        size, truth = np.abs(residuals[usable]), values[usable]
        r2 = None
        if np.ptp(truth) > 0:
            r2 = float(1 - np.square(size).sum() / np.square(truth - truth.mean()).sum())
        return cls(r2, float(size.mean()), float(np.median(size)), count, not_finite)


@dataclass(frozen=True)
class LabelScores:
    """How many labels of the samples a network predicts.

    Parameters
    ----------
    exact
        Share of the samples of which every label is right, in [0, 1].
    errors
        Number of samples with an error in each label, of shape (n_labels,).
    has
        Number of samples that have each label, of shape (n_labels,).
    n_samples
        Number of samples.
    """

    exact: float
    errors: NDArray[np.int64]
    has: NDArray[np.int64]
    n_samples: int

    @classmethod
    def of(cls, sets: NDArray[np.bool_], predicted: NDArray[np.bool_]) -> LabelScores:
        """Return the scores of predicted label sets against the true ones, both of shape (n_samples, n_labels)."""
        wrong = sets != predicted
        exact = float(1 - wrong.any(axis=1).mean())
        return cls(exact, np.asarray(wrong.sum(axis=0)), np.asarray(sets.sum(axis=0)), len(sets))

    @property
    def mean_accuracy(self) -> float:
        """Accuracy of a label, averaged over all labels, in [0, 1]."""
        return float(1 - self.errors.mean() / self.n_samples) if len(self.errors) else 1.0


def rounded(value: float) -> str:
    """Return a number with three significant digits: "0.421", "1,230", "3.2e+07"."""
    if value == 0 or not np.isfinite(value):
        return f"{value:g}"
    if 1e-4 <= abs(value) < 1e6:
        digits = max(0, 2 - int(np.floor(np.log10(abs(value)))))
        text = f"{value:,.{digits}f}"
        return text.rstrip("0").rstrip(".") if "." in text else text
    return f"{value:.3g}"


def exact_floats(values: NDArray[Any]) -> NDArray[np.float64]:
    """Return numbers as float64 that print like the given ones: 0.1 in float32 becomes 0.1, not 0.10000000149."""
    given = np.asarray(values)
    if given.dtype == np.float64:
        return given
    # By way of the shortest decimals that identify each number in its own type.
    return given.astype(np.str_).astype(np.float64)


def largest(sizes: NDArray[np.float64], above: float, most: int) -> NDArray[np.bool_]:
    """Return a mask of the sizes above a limit, of at most so many: the largest."""
    order = np.argsort(-sizes, kind="stable")[:most]
    mask = np.zeros(len(sizes), bool)
    mask[order[sizes[order] > above]] = True
    return mask
