"""Corner cases of networks that predict values."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass

import numpy as np

from torchviz_layers._common.arrays import Array
from torchviz_layers.corner_cases.cases import CornerCase
from torchviz_layers.corner_cases.evidence import Layers

LARGE_RESIDUAL = "large residual"
NETWORKS_DISAGREE = "networks disagree"
ISOLATED = "isolated"

_LARGE = 2.0  # typical residuals from which a residual or a disagreement is a case
_FAR = 3.0  # the same, for a sample that is far from its neighbours
_ROUNDING = 1e-6  # of the largest value: differences below are rounding, whatever the others are
_NARROW = 0.25  # logarithms of distances that vary by less than this do not tell samples apart
_FEW = 3  # neighbours with a value that a mean and a spread need
_TO_DEVIATION = 1.4826  # times the median absolute value: the standard deviation of normally distributed numbers
_BLOCK = 4_000_000  # elements of the differences that are computed at once


def cases_of_values(
    predictions: Mapping[str, Array], values: Array, layers: Mapping[str, Layers], limit: int
) -> Iterator[CornerCase]:
    """Find the corner cases of one or several regressions, kind by kind.

    Parameters
    ----------
    predictions
        Predicted values (n,) by network, NaN where there is none.
    values
        True values (n,), NaN where a sample has none.
    layers
        Layers of each network; the last one with neighbours is where isolated samples are searched for.
    limit
        Number of cases of a kind that are wanted; more may be found.
    """
    residuals = np.stack([predicted - values for predicted in predictions.values()])  # (n_networks, n)
    least = _ROUNDING * float(np.nanmax(np.abs(values), initial=0.0))
    scales = np.array([_typical(of_network, least) for of_network in residuals])
    in_words = _number_format(scales, values)
    yield from _large_residuals(predictions, values, residuals, scales, in_words, limit)
    if len(predictions) > 1:
        yield from _disagreements(predictions, values, scales, in_words, limit)
    for name, of_network in layers.items():
        yield from _isolated(name, values, of_network, limit)


def _large_residuals(
    predictions: Mapping[str, Array],
    values: Array,
    residuals: Array,
    scales: Array,
    in_words: Callable[[float], str],
    limit: int,
) -> Iterator[CornerCase]:
    """Find samples whose residual is several times a typical one of its network."""
    for network, (name, predicted) in enumerate(predictions.items()):
        if not scales[network] > 0:
            continue
        error = np.abs(residuals[network])
        ranks = _Ranks.of(error)
        who = f"{name} predicted" if len(predictions) > 1 else "predicted"
        for row in _highest(error, _LARGE * scales[network], limit):
            reason = (
                f"{who} {in_words(predicted[row])}, true {in_words(values[row])}: off by {in_words(error[row])}, "
                f"{ranks.more_than(error[row])}"
            )
            off = np.sign(residuals[:, row]) * (np.abs(residuals[:, row]) > _LARGE * scales)
            if len(predictions) > 1 and (off == off[network]).all():
                reason += "; all networks are off in this direction"
            yield CornerCase(LARGE_RESIDUAL, row, float(error[row] / scales[network]), reason)


def _disagreements(
    predictions: Mapping[str, Array], values: Array, scales: Array, in_words: Callable[[float], str], limit: int
) -> Iterator[CornerCase]:
    """Find samples whose predictions are far apart, relative to the networks' residuals."""
    names, table = list(predictions), np.stack(list(predictions.values()))  # (n_networks, n)
    apart = table.max(axis=0) - table.min(axis=0)
    scale = float(np.median(scales[np.isfinite(scales)])) if np.isfinite(scales).any() else 0.0
    if not scale > 0:
        return
    ranks = _Ranks.of(apart)
    for row in _highest(apart, _LARGE * scale, limit):
        low, high = int(table[:, row].argmin()), int(table[:, row].argmax())
        reason = (
            f"{names[low]} predicted {in_words(table[low, row])}, {names[high]} {in_words(table[high, row])}: "
            f"{in_words(apart[row])} apart, {ranks.more_than(apart[row])}"
        )
        if np.isfinite(values[row]):
            reason += f"; true {in_words(values[row])}"
        yield CornerCase(NETWORKS_DISAGREE, row, float(apart[row] / scale), reason)


def _isolated(name: str, values: Array, layers: Layers, limit: int) -> Iterator[CornerCase]:
    """Find samples that are far from their neighbours in the last layer, or have another value than these."""
    if not layers.neighbors:
        return
    layer, neighbors = list(layers.neighbors.items())[-1]
    yield from _other_value(f"in {name} its neighbours", values, neighbors, limit)
    if layer in layers.activations:
        yield from _far(name, neighbors, layers.activations[layer], limit)


def _other_value(who: str, values: Array, neighbors: Array, limit: int) -> Iterator[CornerCase]:
    near = values[neighbors]  # (n, k)
    known = np.isfinite(near)
    count = np.maximum(known.sum(axis=1), 1)
    mean = np.where(known, near, 0).sum(axis=1) / count
    spread = np.sqrt(np.where(known, np.square(near - mean[:, None]), 0).sum(axis=1) / count)
    difference = np.where(known.sum(axis=1) >= min(_FEW, neighbors.shape[1]), values - mean, np.nan)
    # Neighbours that happen to be equal would make any difference infinitely large.
    typical = _typical(difference, _ROUNDING * float(np.nanmax(np.abs(values), initial=0.0)))
    scale = np.hypot(spread, typical)
    score = np.abs(difference) / np.where(scale > 0, scale, np.inf)
    in_words = _number_format(np.array([typical]), values)
    for row in _highest(score, _FAR, limit):
        reason = (
            f"{who} have {in_words(mean[row])} ± {in_words(spread[row])} (mean and standard deviation), it has "
            f"{in_words(values[row])}"
        )
        yield CornerCase(ISOLATED, row, float(score[row]), reason)


def _far(name: str, neighbors: Array, X: Array, limit: int) -> Iterator[CornerCase]:
    """Find samples whose distance to their neighbours is far above the others', on a logarithmic scale."""
    distance = _mean_distance(neighbors, X)
    positive = distance > 0  # 0 where all neighbours are duplicates
    logarithm = np.log(np.where(positive, distance, np.nan))
    if not positive.any():
        return
    above = logarithm - np.nanmedian(logarithm)
    score = above / _typical(above, _NARROW)
    typical = np.median(distance[positive])
    for row in _highest(score, _FAR, limit):
        times = distance[row] / typical
        reason = f"in {name} its nearest neighbours are {times:.1f} times as far away as those of a typical sample"
        yield CornerCase(ISOLATED, row, float(score[row]), reason)


def _mean_distance(neighbors: Array, X: Array) -> Array:
    """Return each sample's mean distance to its neighbours (n, k) in X (n, n_features), (n,)."""
    n, k = neighbors.shape
    distance = np.empty(n)
    at_once = max(1, _BLOCK // (k * X.shape[1]))
    for start in range(0, n, at_once):
        part = slice(start, start + at_once)
        difference = X[neighbors[part]] - X[part][:, None]  # (m, k, n_features)
        distance[part] = np.linalg.norm(difference, axis=2).mean(axis=1)
    return distance


def _typical(numbers: Array, least: float) -> float:
    """Return the size of typical ones of the finite numbers, at least `least`; NaN if there are none.

    It is their standard deviation from 0 if they are normally distributed, and outliers do not move it: 1.4826 times
    the median of their absolute values. Where that is 0, because most are, it is the root of the mean square.
    """
    finite = numbers[np.isfinite(numbers)]
    if not len(finite):
        return math.nan
    size = _TO_DEVIATION * float(np.median(np.abs(finite))) or float(np.sqrt(np.square(finite).mean()))
    return max(size, least)


def _highest(numbers: Array, above: float, limit: int) -> list[int]:
    """Return the rows of the highest numbers (n,) above a bound, at most so many, the highest first."""
    rows = np.flatnonzero(numbers > above)
    highest: list[int] = rows[np.argsort(-numbers[rows], kind="stable")[:limit]].tolist()
    return highest


@dataclass(frozen=True)
class _Ranks:
    """The known ones of some numbers in ascending order, to say how one of them compares with the others."""

    known: Array

    @classmethod
    def of(cls, numbers: Array) -> _Ranks:
        return cls(np.sort(numbers[np.isfinite(numbers)]))

    def more_than(self, number: float) -> str:
        """Return "more than 99% of the samples" or, of the highest, that it is."""
        below, n = int(np.searchsorted(self.known, number)), len(self.known)
        return f"the most of {n:,} samples" if below == n - 1 else f"more than {100 * below // n}% of the samples"


def _number_format(scales: Array, values: Array) -> Callable[[float], str]:
    """Return what writes a value with as many decimals as differences of the size of the scales need."""
    finite = scales[np.isfinite(scales) & (scales > 0)]
    size = float(np.nanmax(np.abs(values), initial=0.0))
    if not len(finite) or size >= 1e15 or finite.min() < 1e-9:
        return lambda value: f"{value:.6g}"
    decimals = max(0, 1 - math.floor(math.log10(finite.min())))
    return lambda value: f"{value:,.{decimals}f}"
