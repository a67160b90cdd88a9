"""The reader's own columns: what kind each one is, how it is packed for a page, and its name in exports."""

from __future__ import annotations

import datetime
import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from numbers import Integral, Real
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from torchviz_layers.exceptions import PageError
from torchviz_layers.page.columns import Column, column, rows, smallest_exact, text_column
from torchviz_layers.page.palette import category_colors

MAX_COLUMNS = 50  # more are not on the page, which says so; they are in every file that Python writes
FEW_NUMBERS = 12  # up to so many different whole numbers are categories
MOST_CATEGORIES = 1_000
COLORED_CATEGORIES = 20  # with a colour and a chip of their own; the others share one
LONGEST_CATEGORY = 80  # mean letters; longer texts are read, not chosen from

_EXACT = 2**53  # from here on a float64, which is JavaScript's number, skips integers
_DAY = 86_400_000  # milliseconds
_LATEST = 10**8  # days before or after 1970 that a Date of JavaScript can represent
_LONE_SURROGATE = re.compile("[\ud800-\udfff]")  # no UTF-8 file can contain one

Kind = Literal["number", "category", "text", "date"]


@dataclass(frozen=True)
class Field:
    """One of the reader's columns.

    Parameters
    ----------
    name
        Its name, as the reader gave it.
    export
        Its name in files, which none of the page's own columns there has.
    kind
        What it contains; decides how it is coloured and filtered.
    values
        Of shape (n_samples,). Numbers: float64, NaN where missing. Categories: codes, the number of names where
        missing. Dates: float64 in units of `unit`, NaN where missing. Texts: str, None where missing.
    names
        Names of the categories, the most frequent first; numbers in their own order.
    unit
        Of dates: milliseconds of a unit, which is a day, a second or a millisecond, the longest that is exact.
    """

    name: str
    export: str
    kind: Kind
    values: NDArray[Any]
    names: tuple[str, ...] = ()
    unit: int = 1

    @property
    def missing(self) -> int:
        """Number of samples without a value."""
        if self.kind == "category":
            return int(np.count_nonzero(self.values == len(self.names)))
        if self.kind == "text":
            return sum(value is None for value in self.values)
        return int(np.count_nonzero(np.isnan(self.values)))


def read_fields(columns: Mapping[str, Any], taken: Iterable[str]) -> list[Field]:
    """Return the columns in the reader's order.

    Parameters
    ----------
    columns
        Values of shape (n_samples,) by name.
    taken
        Names of the page's own columns in exports.
    """
    exports = told_apart(columns, taken)
    return [_field(name, export, columns[name]) for name, export in zip(columns, exports, strict=True)]


def told_apart(names: Iterable[Any], taken: Iterable[str]) -> list[str]:
    """Return a name for each of the reader's columns that is neither one of `taken` nor another column's."""
    used = set(taken)
    found = []
    for name in names:
        free = readable(str(name))
        while free in used:
            free += " (column)"
        used.add(free)
        found.append(free)
    return found


def readable(text: str) -> str:
    """Return a text without lone surrogates, which no file in UTF-8 can contain."""
    return _LONE_SURROGATE.sub("\N{REPLACEMENT CHARACTER}", text)


def as_column(given: Any) -> NDArray[Any]:
    """Return a column as an array; a list keeps its objects, because NumPy would make text of NaN among text."""
    if isinstance(given, np.ndarray):
        return given  # also a masked one, which `asarray` would unmask
    if not isinstance(given, Sequence):
        return np.asarray(given)
    values = np.empty(len(given), dtype=object)
    for row, value in enumerate(given):
        values[row] = value
    return values


def table_values(given: Any) -> NDArray[Any]:
    """Return a column for a DataFrame: with its own type or, of Python objects, as numbers, dates or text."""
    values = as_column(given)
    if isinstance(values, np.ma.MaskedArray) or values.dtype.kind not in "biufmMU":
        values = typed(values)
    return values.astype(object) if values.dtype.kind == "U" else values


def check_columns(columns: Any, n_samples: int) -> None:
    """Raise `PageError` if the columns are not a mapping to one value per sample."""
    if not isinstance(columns, Mapping):
        raise PageError(f"columns: {type(columns).__name__}; pass a dict of names to arrays of shape ({n_samples},)")
    for name, given in columns.items():
        shape = np.shape(given) if hasattr(given, "shape") or not isinstance(given, Sequence) else (len(given),)
        if isinstance(given, str) or shape != (n_samples,):
            raise PageError(f"columns: {name!r} has shape {shape}; pass one value per sample, ({n_samples},)")


def _field(name: Any, export: str, given: Any) -> Field:
    label = readable(str(name))
    values = typed(given)
    if values.dtype.kind == "M":
        milliseconds = values.astype(np.int64).astype(np.float64)
        milliseconds[np.isnat(values)] = np.nan
        unit = _unit(milliseconds)
        return Field(label, export, "date", milliseconds / unit, unit=unit)
    if values.dtype.kind == "f":
        finite = np.unique(values[np.isfinite(values)])
        whole = bool((finite % 1 == 0).all()) and not np.isinf(values).any()
        known = int(np.count_nonzero(np.isfinite(values)))
        if whole and len(finite) <= min(FEW_NUMBERS, known // 2):
            codes = np.where(np.isnan(values), len(finite), np.searchsorted(finite, values))
            return Field(label, export, "category", codes, tuple(str(int(number)) for number in finite))
        return Field(label, export, "number", values)
    counts = Counter(value for value in values.tolist() if value is not None)
    if not _are_categories(counts) and as_column(given).dtype.kind != "b":
        return Field(label, export, "text", values)
    names = sorted(counts, key=lambda each: (-counts[each], each))
    code_of: dict[Any, int] = {each: code for code, each in enumerate(names)}
    codes = np.array([code_of.get(value, len(names)) for value in values.tolist()], dtype=np.int64)
    return Field(label, export, "category", codes, tuple(map(readable, names)))


def _are_categories(counts: Counter[str]) -> bool:
    """Return whether so many different texts, each so often, are a choice rather than something to read."""
    known, different = counts.total(), len(counts)
    if sum(map(len, counts)) > LONGEST_CATEGORY * different:
        return False
    if different <= FEW_NUMBERS:
        return different < known or not known
    return different <= min(MOST_CATEGORIES, known // 2)


def _unit(milliseconds: NDArray[np.float64]) -> int:
    known = milliseconds[~np.isnan(milliseconds)]
    return next(unit for unit in (_DAY, 1000, 1) if (known % unit == 0).all())


def typed(given: Any) -> NDArray[Any]:
    """Return a column (n,) as float64 (NaN: missing), as datetime64[ms] (NaT: missing) or as str and None.

    Numbers and dates that a number of JavaScript would change become text.
    """
    values = as_column(given)
    if isinstance(values, np.ma.MaskedArray):
        masked = np.ma.getmaskarray(values)
        values = np.asarray(values).astype(object)
        values[masked] = None
    kind = values.dtype.kind
    if kind == "m":
        return np.asarray(values / np.timedelta64(1, "s"), dtype=np.float64)
    if kind == "f" or (kind in "iu" and not (_beyond(values.min(initial=0)) or _beyond(values.max(initial=0)))):
        return values.astype(np.float64)
    if kind == "M" and (np.abs(values.astype("M8[D]")[~np.isnat(values)].astype(np.int64)) <= _LATEST).all():
        return values.astype("M8[ms]")
    if kind == "O":
        known = [value for value in values.tolist() if not is_missing(value)]
        return _of_objects(values.tolist(), known)
    return _texts(values.tolist())


def _beyond(number: Any) -> bool:
    return abs(int(number)) > _EXACT


def _of_objects(values: list[Any], known: list[Any]) -> NDArray[Any]:
    def all_are(*types: type) -> bool:
        return bool(known) and all(isinstance(value, types) for value in known)

    are_numbers = all_are(Real, Decimal) and not all_are(bool, np.bool_)
    if are_numbers and not any(isinstance(value, Integral) and _beyond(value) for value in known):
        return np.array([np.nan if is_missing(value) else float(value) for value in values], dtype=np.float64)
    if all_are(datetime.date, np.datetime64):
        dates = [np.datetime64("NaT") if is_missing(value) else _date(value) for value in values]
        return typed(np.array(dates, dtype="M8[ms]"))
    return _texts(values)


def _date(value: Any) -> np.datetime64:
    if isinstance(value, datetime.datetime) and value.tzinfo is not None:
        value = value.astimezone(datetime.UTC).replace(tzinfo=None)
    return np.datetime64(value, "ms")


def _texts(values: list[Any]) -> NDArray[Any]:
    texts = np.empty(len(values), dtype=object)
    for row, value in enumerate(values):
        if not is_missing(value):
            texts[row] = value.decode("utf-8", "replace") if isinstance(value, bytes) else str(value)
    return texts


def is_missing(value: Any) -> bool:
    """Return whether a value is None, NaN, NaT or pandas' NA."""
    if value is None:
        return True
    try:
        return bool(value != value)  # NaN and NaT alone differ from themselves
    except (TypeError, ValueError):  # NA has no truth value, nor has an array
        return type(value).__name__ == "NAType"


def field_columns(fields: Sequence[Field]) -> dict[str, Column]:
    """Return the columns packed, by the names under which the page's script reads them."""
    return {f"field-{number}": _packed(field) for number, field in enumerate(fields)}


def _packed(field: Field) -> Column:
    if field.kind == "text":
        return text_column(field.values.tolist())
    if field.kind == "category":
        return column(rows(field.values, len(field.names)))
    return column(smallest_exact(field.values))


def field_meta(field: Field) -> dict[str, Any]:
    """Return what the page's script knows of a column beside its values, as JSON can contain it."""
    described: dict[str, Any] = {
        "name": field.name,
        "export": field.export,
        "kind": field.kind,
        "missing": field.missing,
    }
    if field.kind == "category":
        shown = min(len(field.names), COLORED_CATEGORIES)
        return described | {"names": list(field.names), "colors": category_colors(shown)}
    if field.kind == "text":
        return described
    finite = field.values[np.isfinite(field.values)]
    # A column of infinities alone has no range, like one without any value.
    low, high = (float(finite.min()), float(finite.max())) if len(finite) else (0.0, 0.0)
    # Few very large values would leave one colour to all others.
    scale = [float(quantile) for quantile in np.quantile(finite, (0.01, 0.99))] if len(finite) else [low, high]
    if len(finite) < 100 or scale[0] == scale[1]:
        scale = [low, high]
    whole = bool((finite % 1 == 0).all())
    return described | {"low": low, "high": high, "scale": scale, "whole": whole, "unit": field.unit}
