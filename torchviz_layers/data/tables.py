"""Tables: columns of numbers are a network's input, one is the target, and the others are shown."""

from __future__ import annotations

import difflib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from torchviz_layers._common.arrays import Array
from torchviz_layers._common.files import printable
from torchviz_layers.data.columns import column_of, read_columns
from torchviz_layers.data.items import TEXT_KEYS
from torchviz_layers.data.plain_values import PlainValues, described, library_of, plain_values
from torchviz_layers.exceptions import DataError

_ROWS_NAMED = 10  # rows that a message lists


@dataclass(frozen=True, eq=False)
class Frame:
    """A table's columns by name, in order, as any library holds them, and the names of its rows, if it has some."""

    columns: dict[str, Any]
    ids: Array | None = None

    def __len__(self) -> int:
        return len(next(iter(self.columns.values()))) if self.columns else 0


@dataclass(frozen=True, eq=False)
class Table:
    """What a table gives for its samples.

    Attributes
    ----------
    inputs : ndarray of shape (n, n_features), or list of str
        float32, the columns of numbers; or the texts of one column.
    row_names : tuple of str
        Names of the features.
    targets : object or None
        One a sample, for `read_targets`; None without.
    columns : dict of str to ndarray
        The columns that are not fed to a network, each of shape (n,).
    ids : ndarray of shape (n,) or None
        Names of the rows.
    notice : str
        Which columns are not fed; usually empty.
    """

    inputs: Array | list[str]
    row_names: tuple[str, ...]
    targets: Any = None
    columns: dict[str, Array] = field(default_factory=dict)
    ids: Array | None = None
    notice: str = ""


def is_table(data: object) -> bool:
    """Return whether `data` is a table that `read_table` takes: of pandas, polars, PyArrow, or a `Frame`."""
    return isinstance(data, Frame) or (
        (library_of(data), type(data).__name__)
        in (("pandas", "DataFrame"), ("polars", "DataFrame"), ("polars", "LazyFrame"), ("pyarrow", "Table"))
    )


def read_table(
    data: Any, *, targets: Any = None, columns: Any = None, name: str = "samples", texts: bool = False
) -> Table:
    """Read a table: what is fed to a network, the targets, and the columns that are shown only.

    Parameters
    ----------
    data
        A DataFrame of pandas or polars, a PyArrow table, or a `Frame`.
    targets
        The name of the column with the targets; several names, for columns of 0 and 1, one a label; or the targets
        themselves, one a row.
    columns
        Names of columns that are shown and not fed. Or further columns, as `read_columns` takes them.
    name
        What an error message calls the samples.
    texts
        Whether a column of texts is fed, the one called "text" or "sentence" or else the first, in place of numbers.

    Raises
    ------
    DataError
        If there is no such column, no column of numbers, or a number is missing or infinite.
    """
    frame = frame_of(data, name)
    n = len(frame)
    if not n:
        raise DataError(f"{name}: the table has no rows")
    found_targets, used = _targets_in(frame, targets, name)
    shown: dict[str, Array] = {}
    kept = _columns_in(frame, columns, name)
    if kept is None:
        shown, kept = read_columns(columns, n, name), []
    fed: dict[str, PlainValues] = {}
    not_fed = []
    kinds = ("text",) if texts else ("bool", "int", "float")
    for key, values in frame.columns.items():
        if key in used:
            continue
        plain = plain_values(values, f"{name}: the column {key!r}")
        can_be_fed = plain.kind in kinds and plain.values.ndim == 1
        if can_be_fed and key not in kept:
            fed[key] = plain
            continue
        if key not in kept:
            not_fed.append(key)
        if plain.kind != "sets" and plain.values.ndim == 1:
            shown.setdefault(key, column_of(plain))
    if texts:
        return _table_of_texts(frame, fed, found_targets, shown, name)
    if not fed:
        raise DataError(
            f"{name}: none of the columns {_listed(frame.columns)} is left to feed as numbers; encode them, "
            "pandas.get_dummies(frame) say, or give the inputs and the table apart, Samples.of(list(frame['text']), "
            "columns=frame) say"
        )
    notice = ""
    if not_fed:
        verb = "is" if len(not_fed) == 1 else "are"
        notice = f"{', '.join(not_fed)} {verb} not numeric: shown, not fed to the network"
    return Table(_inputs(fed, name), tuple(fed), found_targets, shown, frame.ids, notice)


def _table_of_texts(
    frame: Frame, texts: Mapping[str, PlainValues], targets: Any, shown: dict[str, Array], name: str
) -> Table:
    """Return the table whose input is one of its columns of texts; the others are shown."""
    if not texts:
        raise DataError(f"{name}: none of the columns {_listed(frame.columns)} is text for tokenizer=; leave it out")
    key = next((usual for usual in TEXT_KEYS if usual in texts), next(iter(texts)))
    missing = np.flatnonzero(texts[key].missing)
    if len(missing):
        raise DataError(
            f"{name}: {len(missing):,} rows have no text in {key} (rows {_listed(missing[:_ROWS_NAMED])}); drop them, "
            f"frame.dropna(subset=[{key!r}]) say"
        )
    others = {other: column_of(plain) for other, plain in texts.items() if other != key}
    notice = f"the texts are those of {key}: {', '.join(others)} only shown" if others else ""
    return Table(texts[key].values.tolist(), (), targets, {**shown, **others}, frame.ids, notice)


def frame_of(data: Any, name: str = "samples") -> Frame:
    """Return a table of any library as a `Frame`."""
    if isinstance(data, Frame):
        return data
    if not is_table(data):
        raise DataError(f"{name}: {described(data)} is no table; give a DataFrame of pandas or polars")
    library, ids = library_of(data), None
    pairs: list[tuple[Any, Any]]
    if type(data).__name__ == "LazyFrame":
        data = data.collect()
    if library == "pandas":
        pairs = [(key, data.iloc[:, i]) for i, key in enumerate(data.columns)]
        ids = _index_of(data.index)
    elif library == "polars":
        pairs = [(series.name, series) for series in data.get_columns()]
    else:
        pairs = [(key, data[key].to_pylist()) for key in data.column_names]
    columns: dict[str, Any] = {}
    for key, values in pairs:
        text = printable(str(key))
        if text in columns:
            raise DataError(f"{name}: the table has several columns {text!r}; rename one")
        columns[text] = values
    return Frame(columns, ids)


def _index_of(index: Any) -> Array | None:
    """Return the names of a pandas DataFrame's rows; None where they are only numbered."""
    if type(index).__name__ == "RangeIndex" or index.nlevels > 1 or not index.is_unique:
        return None
    if index.dtype.kind in "iu":  # of a part of a table: the rows' numbers in the whole
        return np.array(index)
    return np.array([printable(str(key)) for key in index])


def _targets_in(frame: Frame, targets: Any, name: str) -> tuple[Any, set[str]]:
    """Return the targets, and the names of the columns that they are."""
    # A number may be the name of a column (pandas numbers unnamed ones), but never the targets themselves.
    if isinstance(targets, (str, int, np.integer)):
        key = _known(frame, str(targets), name, "targets")
        return frame.columns[key], {key}
    are_names = isinstance(targets, (list, tuple)) and targets and all(isinstance(key, str) for key in targets)
    if not are_names or not set(targets) <= set(frame.columns):
        return targets, set()
    read = [plain_values(frame.columns[key], f"{name}: the column {key!r}") for key in targets]
    if any(column.kind not in ("bool", "int", "float") or column.missing.any() for column in read):
        raise DataError(f"{name}: the columns {_listed(targets)} as targets must be 0 or 1 in each row")
    return np.stack([column.values for column in read], axis=1), set(targets)


def _columns_in(frame: Frame, columns: Any, name: str) -> list[str] | None:
    """Return the names of columns that the caller gives; None where `columns` are further columns themselves."""
    if columns is None:
        return []
    if isinstance(columns, str):
        columns = [columns]
    if isinstance(columns, (set, frozenset)):
        columns = list(columns)
    if isinstance(columns, Sequence) and all(isinstance(key, (str, int)) for key in columns):
        return [_known(frame, str(key), name, "columns") for key in columns]
    return None


def _known(frame: Frame, key: str, name: str, argument: str) -> str:
    if key not in frame.columns:
        near = difflib.get_close_matches(key, frame.columns, n=1)
        hint = f"; did you mean {near[0]!r}?" if near else ""
        raise DataError(f"{name}: {argument}={key!r} is no column; the table has {_listed(frame.columns)}{hint}")
    return key


def _inputs(numbers: Mapping[str, PlainValues], name: str) -> Array:
    """Return columns of numbers as float32 (n, n_features); refuse what would make a network's outputs NaN."""
    columns = [np.where(plain.missing, np.nan, plain.values.astype(np.float64)) for plain in numbers.values()]
    with np.errstate(over="ignore"):
        inputs = np.stack(columns, axis=1).astype(np.float32)
    bad = ~np.isfinite(inputs)  # (n, n_features)
    if bad.any():
        rows = np.flatnonzero(bad.any(axis=1))
        keys = [key for number, key in enumerate(numbers) if bad[:, number].any()]
        shown = ", ".join(map(str, rows[:_ROWS_NAMED])) + (", ..." if len(rows) > _ROWS_NAMED else "")
        raise DataError(
            f"{name}: {len(rows):,} rows have no finite number (float32) in {_listed(keys)} (rows {shown}), of which a "
            f"network makes NaN; fill them, frame.fillna(frame.median(numeric_only=True)) say, drop the rows, or show "
            f"these columns only: columns={keys[:3]}"
        )
    return inputs


def _listed(names: Any) -> str:
    listed = list(map(str, names))
    return ", ".join(listed[:20]) + (f" and {len(listed) - 20} more" if len(listed) > 20 else "")
