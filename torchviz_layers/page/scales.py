"""Ranges of colours and of the threshold in a regression: robust against single outliers, in round numbers."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

SHARE_OF_ERRORS = 0.05  # of all residuals, which are errors unless a threshold is given
STEPS = 200  # of the threshold's slider, about


@dataclass(frozen=True)
class Scale:
    """Numbers that a colour scale spans, and whether there are values below and above it."""

    low: float
    high: float
    below: bool
    above: bool

    @classmethod
    def of(cls, values: NDArray[np.float64]) -> Scale:
        """Return the 1st to 99th percentile of the finite values, so that single outliers do not flatten the rest."""
        finite = values[np.isfinite(values)]
        if not len(finite):
            return cls(0.0, 1.0, below=False, above=False)
        low, high = (float(end) for end in np.percentile(finite, (1, 99)))
        if low == high:  # almost all values are the same
            low, high = float(finite.min()), float(finite.max())
        if low == high:  # all are: the scale has that value in its middle
            low, high = low - 0.5, high + 0.5
        return cls(low, high, below=bool((values < low).any()), above=bool((values > high).any()))

    @classmethod
    def symmetric(cls, residuals: NDArray[np.float64]) -> Scale:
        """Return a scale around 0 up to the 99th percentile of the residuals' sizes."""
        sizes = np.abs(residuals[np.isfinite(residuals)])
        high = float(np.percentile(sizes, 99)) if len(sizes) else 0.0
        high = high or float(sizes.max(initial=0)) or 1.0
        return cls(-high, high, below=bool((residuals < -high).any()), above=bool((residuals > high).any()))


@dataclass(frozen=True)
class Threshold:
    """The size above which a residual is an error, and the largest position and the step of its slider."""

    value: float
    max: float
    step: float

    @classmethod
    def of(cls, sizes: NDArray[np.float64], given: float | None = None) -> Threshold:
        """Return the given threshold, or a round number that about the largest 5 % of the sizes exceed.

        Sizes may be NaN, where there is none, or infinite.
        """
        finite = sizes[np.isfinite(sizes)]
        if not len(finite):
            return cls(given or 0.0, max(1.0, given or 0.0), 0.01)
        # A few residuals that are much larger than all others would leave no room for the others on the slider.
        top = min(float(finite.max()), 5 * float(np.percentile(finite, 99))) or float(finite.max()) or 1.0
        step = _round_number(top / STEPS)
        value = given
        if value is None:
            usual = float(np.percentile(finite, 100 * (1 - SHARE_OF_ERRORS)))
            value = _times(max(1, round(usual / step)), step) if usual else 0.0
        unlimited = cls(value, 0.0, step)
        return cls(value, unlimited.rounded_up(max(top, value)), step)

    def rounded_up(self, size: float) -> float:
        """Return the least multiple of the step that is at least `size`; an infinite size as it is."""
        if not np.isfinite(size):
            return size
        return _times(int(np.ceil(size / self.step - 1e-9)), self.step)


def _round_number(size: float) -> float:
    """Return the largest of ..., 0.1, 0.2, 0.5, 1, 2, 5, ... that is at most `size`."""
    power = 10.0 ** np.floor(np.log10(size)) if size > 0 else 1.0
    factor = max(factor for factor in (1, 2, 5) if factor * power <= size * (1 + 1e-9))
    return float(f"{factor * power:.6g}")


def _times(count: int, step: float) -> float:
    """Return a multiple of a step, without the binary fraction's last digits: 3 times 0.1 is 0.3."""
    return float(f"{count * step:.12g}")
