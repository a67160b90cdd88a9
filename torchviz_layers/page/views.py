"""What a sample without a picture is shown as: its text, the values of its features, or its curves."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from torchviz_layers.exceptions import PageError
from torchviz_layers.page.columns import Column, column, text_column
from torchviz_layers.page.metadata import readable
from torchviz_layers.page.records import PageData

# Most bytes, before compression, of all rows and of all series of a page; above it less of each is shown, and the
# page says so.
ROWS_BUDGET = 16 << 20
SERIES_BUDGET = 8 << 20
MISSING = 65535  # the step of a series' point that is NaN; values are steps 0 to 65534


def check_views(data: PageData) -> None:
    """Raise `PageError` if rows, their names or series do not fit the samples."""
    n = data.n_samples
    if data.rows is not None:
        values = np.asarray(data.rows)
        if values.ndim != 2 or len(values) != n or values.dtype.kind not in "biuf":
            raise PageError(
                f"rows: {values.dtype} of shape {values.shape}; pass numbers of shape ({n}, n_features), "
                "one row per sample"
            )
        if data.row_names and len(data.row_names) != values.shape[1]:
            raise PageError(
                f"row_names: {len(data.row_names)} names for {values.shape[1]} features; pass one per feature"
            )
    elif len(data.row_names):
        raise PageError(f"row_names: {len(data.row_names)} names, but no rows; pass rows of shape ({n}, n_features)")
    if data.series is not None:
        values = np.asarray(data.series)
        if values.ndim != 3 or len(values) != n or values.dtype.kind not in "biuf" or not values.size:
            raise PageError(
                f"series: {values.dtype} of shape {values.shape}; pass numbers of shape ({n}, n_channels, length)"
            )


def shows_rows(data: PageData) -> bool:
    """Whether the samples are shown as rows; pictures and texts are shown before them."""
    return data.rows is not None and _shape(data.rows)[1] > 0 and data.images is None and data.texts is None


def shows_series(data: PageData) -> bool:
    """Whether the samples are shown as curves; pictures, texts and rows are shown before them."""
    return data.series is not None and data.images is None and data.texts is None and not shows_rows(data)


def shown_view(data: PageData) -> tuple[dict[str, Column], dict[str, Any]]:
    """Return texts, rows or series packed, by their names in the page's script, and what it knows of them beside.

    That is the features' names, medians and scales, or the channels' ranges, as JSON can contain them.
    """
    packed: dict[str, Column] = {}
    if data.texts is not None:  # beside pictures, too: they are searched and on the card
        packed["texts"] = text_column(list(map(str, data.texts)))
    if shows_rows(data):
        values = np.asarray(data.rows, dtype=np.float32)[:, : _count_features(data)]
        packed["rows"] = column(values)
        names = feature_names(data)
        medians, scales = robust_scale(values)
        features = [
            {"name": readable(name), "median": float(median), "scale": float(scale)}
            for name, median, scale in zip(names, medians, scales, strict=False)
        ]
        return packed, {"features": features}
    if shows_series(data):
        curves = _shown_curves(data)
        low, high = _ranges(curves)
        packed["series"] = column(_steps(curves, low, high))
        return packed, {"channels": [{"low": float(a), "high": float(b)} for a, b in zip(low, high, strict=True)]}
    return packed, {}


def view_notes(data: PageData) -> list[str]:
    """Return sentences on what is shown of rows or series if that is not all."""
    notes = []
    if shows_rows(data) and _count_features(data) < _shape(data.rows)[1]:
        notes.append(f"shown: the first {_count_features(data):,} of {_shape(data.rows)[1]:,} features")
    if shows_series(data) and _count_points(data) < _shape(data.series)[2]:
        notes.append(f"series shown as {_count_points(data)} means of {_shape(data.series)[2]} points")
    return notes


def feature_names(data: PageData) -> list[str]:
    """Return the features' names; those without one, or whose names are their numbers, are "feature 0" and so on."""
    numbers = list(map(str, range(_shape(data.rows)[1])))
    names = list(map(str, data.row_names)) or numbers
    return [f"feature {number}" for number in numbers] if names == numbers else names


def robust_scale(values: NDArray[np.float32]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return each feature's median and interquartile range, both (n_features,), of its finite values.

    Where the quartiles are equal the scale is the standard deviation; it is 0 for a constant feature.
    """
    finite = np.where(np.isfinite(values), values, np.nan).astype(np.float64)
    medians, scales = np.zeros(values.shape[1]), np.zeros(values.shape[1])
    for feature, column_ in enumerate(finite.T):
        known = column_[~np.isnan(column_)]
        if len(known):
            low, medians[feature], high = np.quantile(known, (0.25, 0.5, 0.75))
            scales[feature] = high - low or known.std()
    return medians, scales


def _shape(values: Any) -> tuple[int, ...]:
    return tuple(np.shape(values))


def _count_features(data: PageData) -> int:
    most = max(1, ROWS_BUDGET // (4 * data.n_samples))
    return min(most, _shape(data.rows)[1])


def _count_points(data: PageData) -> int:
    channels, length = _shape(data.series)[1:]
    most = max(16, SERIES_BUDGET // (2 * data.n_samples * channels))
    return min(most, length)


def _shown_curves(data: PageData) -> NDArray[np.float32]:
    """Return the curves (n, n_channels, points), NaN where a value is missing."""
    values = np.asarray(data.series, dtype=np.float32)
    known = np.isfinite(values)
    points, length = _count_points(data), values.shape[2]
    if points == length:
        return np.where(known, values, np.float32(np.nan))
    # Each point is the mean of the points that it replaces; one of NaN alone stays NaN.
    starts = np.arange(points) * length // points
    count = np.add.reduceat(known, starts, axis=2, dtype=np.int32)
    total = np.add.reduceat(np.where(known, values, np.float32(0)), starts, axis=2)
    return np.where(count > 0, total / np.maximum(count, 1), np.nan).astype(np.float32)


def _ranges(curves: NDArray[np.float32]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return each channel's lowest and highest value of all samples, both (n_channels,); 0 for one of NaN alone."""
    known = ~np.isnan(curves)
    low = np.min(curves, axis=(0, 2), initial=np.inf, where=known).astype(np.float64)
    high = np.max(curves, axis=(0, 2), initial=-np.inf, where=known).astype(np.float64)
    empty = low > high
    return np.where(empty, 0.0, low), np.where(empty, 0.0, high)


def _steps(curves: NDArray[np.float32], low: NDArray[np.float64], high: NDArray[np.float64]) -> NDArray[np.uint16]:
    """Return curves as steps of 1/65534 of their channel's range over all samples."""
    span = np.where(high > low, high - low, 1.0)
    share = (curves - low[:, None]) / span[:, None]
    steps = np.where(np.isnan(share), MISSING, np.rint(np.nan_to_num(share) * (MISSING - 1)))
    return np.asarray(steps, dtype=np.uint16)
