"""The reader's own columns: numbers, text or dates, one value a sample."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from torchviz_layers._common.arrays import Array
from torchviz_layers._common.files import printable
from torchviz_layers.data.plain_values import PlainValues, described, library_of, plain_values
from torchviz_layers.exceptions import DataError


def read_columns(columns: Any, n: int, name: str = "samples") -> dict[str, Array]:
    """Return columns by name, each of shape (n,).

    Parameters
    ----------
    columns
        A mapping of names to values, a pandas or polars DataFrame, or a structured array.
    n
        Number of samples.
    name
        What an error message calls the samples.

    Returns
    -------
    dict of str to ndarray
        Numbers and bools as they are, but as float64 with NaN where some are missing; text, categories and bools with
        gaps as text, empty where missing; dates as datetime64 (of a time zone: as UTC), NaT where missing.

    Raises
    ------
    DataError
        If a column has another number of values than there are samples, or its values are of no such kind.

    Examples
    --------
    >>> read_columns({"age": [31, None], "site": ["A", "B"]}, 2)
    {'age': array([31., nan]), 'site': array(['A', 'B'], dtype='<U1')}
    """
    found: dict[str, Array] = {}
    for key, values in _pairs(columns, name).items():
        what = f"{name}: the column {key!r}"
        plain = plain_values(values, what)
        if plain.values.shape[1:] == (1,):
            plain = PlainValues(plain.kind, plain.values[:, 0], plain.missing)
        if plain.kind == "sets" or plain.values.ndim > 1:
            raise DataError(
                f"{what}: several values a sample, of shape {plain.values.shape}; give one, and others as columns of "
                "their own"
            )
        if len(plain) != n:
            raise DataError(f"{what}: {len(plain):,} values for {n:,} samples; give one a sample, in the same order")
        found[key] = column_of(plain)
    return found


def column_of(plain: PlainValues) -> Array:
    """Return values as a column, as `read_columns` describes."""
    if plain.kind == "text" or (plain.kind == "bool" and plain.missing.any()):
        return np.array(["" if gap else str(v) for v, gap in zip(plain.values, plain.missing, strict=True)])
    values = plain.values.copy()
    if plain.missing.any():
        if plain.kind == "int":
            values = values.astype(np.float64)
        values[plain.missing] = np.datetime64("NaT") if plain.kind == "date" else np.nan
    return values


def _pairs(columns: Any, name: str) -> dict[str, Any]:
    pairs: list[tuple[Any, Any]]
    if isinstance(columns, Mapping):
        pairs = list(columns.items())
    elif isinstance(columns, np.ndarray) and columns.dtype.names:
        pairs = [(key, columns[key]) for key in columns.dtype.names]
    elif library_of(columns) == "pandas" and hasattr(columns, "iloc") and getattr(columns, "ndim", 1) == 2:
        pairs = [(key, columns.iloc[:, i]) for i, key in enumerate(columns.columns)]
    elif library_of(columns) == "polars" and hasattr(columns, "get_columns"):
        pairs = [(series.name, series) for series in columns.get_columns()]
    else:
        raise DataError(
            f"{name}: columns={described(columns)}; give a mapping of names to values, columns={{'age': ages}} say, or "
            "a DataFrame"
        )
    names = [printable(str(key)) for key, _ in pairs]
    for key in names:
        if names.count(key) > 1:
            raise DataError(f"{name}: there are several columns {key!r}; rename one")
    return dict(zip(names, (values for _, values in pairs), strict=True))
