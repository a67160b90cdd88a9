"""Files with a table: CSV, TSV, Parquet and Feather."""

from __future__ import annotations

import csv
from collections.abc import Callable
from contextlib import suppress
from datetime import datetime
from pathlib import Path
from typing import Any

import numpy as np

from torchviz_layers._common.arrays import Array
from torchviz_layers._common.files import printable
from torchviz_layers.data.tables import Frame
from torchviz_layers.exceptions import DataError, MissingDependencyError

TABLE_SUFFIXES = (".csv", ".tsv", ".parquet", ".feather")
_MISSING = {"", "na", "nan", "n/a", "null", "none"}  # as R, pandas and others write them; compared in lower case
# The column that pandas writes for the names of rows: without a name into CSV, with this one into Parquet.
_INDEX_COLUMNS = ("", "__index_level_0__")


def read_table_file(path: Path) -> Frame:
    """Read a table from a file, whose suffix is one of `TABLE_SUFFIXES`.

    The first row of a CSV file has the columns' names. A column of it is read as numbers, "true" and "false", or dates
    (ISO 8601) if all its values are; else as text. A first column without a name has the ids of the rows.

    Raises
    ------
    DataError
        If there is no such file or it cannot be read.
    MissingDependencyError
        If it is a Parquet or Feather file and PyArrow is not installed.
    """
    if not path.is_file():
        raise DataError(f"{path}: there is no such file")
    columns = _read_csv(path) if path.suffix.lower() in (".csv", ".tsv") else _read_arrow(path)
    if not columns or not len(next(iter(columns.values()))):
        raise DataError(f"{path}: the table has no rows")
    ids = None
    for key in _INDEX_COLUMNS:
        if key in columns and len(columns) > 1:
            ids = _as_ids(columns.pop(key))
    return Frame(columns, ids)


def _as_ids(values: list[Any]) -> Array:
    if all(isinstance(value, int) for value in values):
        return np.array(values)
    return np.array(["" if value is None else str(value) for value in values])


def _read_csv(path: Path) -> dict[str, Any]:
    try:
        with path.open(newline="", encoding="utf-8-sig") as file:
            rows = [row for row in csv.reader(file, delimiter="\t" if path.suffix.lower() == ".tsv" else ",") if row]
    except (OSError, UnicodeDecodeError, csv.Error) as problem:
        raise DataError(f"{path} cannot be read: {problem}; a CSV file in UTF-8 is expected") from problem
    if not rows:
        raise DataError(f"{path} is empty; a first row with the names of the columns is expected")
    names = [printable(name.strip()) for name in rows[0]]
    if len(set(names)) < len(names):
        twice = next(name for name in names if names.count(name) > 1)
        raise DataError(f"{path} has several columns {twice!r}; rename one")
    for number, row in enumerate(rows[1:], start=2):
        if len(row) != len(names):
            raise DataError(
                f"{path}: row {number} has {len(row)} values for {len(names)} columns; put text with commas in "
                'quotes ("...")'
            )
    return {name: _parsed([row[i] for row in rows[1:]]) for i, name in enumerate(names)}


def _parsed(texts: list[str]) -> list[Any]:
    """Return a column's text as whole numbers, numbers, bools or dates if all that is there is so; else as it is."""
    gaps = {text for text in set(texts) if text.strip().lower() in _MISSING}
    present = [text for text in texts if text not in gaps] if gaps else texts
    parsers: tuple[Callable[[str], Any], ...] = (_as_int, _as_float, _as_bool, datetime.fromisoformat)
    values: list[Any] = present
    for parse in parsers:
        with suppress(ValueError):
            values = [parse(text.strip()) for text in present]
            break
    if not gaps:
        return values
    remaining = iter(values)
    return [None if text in gaps else next(remaining) for text in texts]


def _as_int(text: str) -> int:
    if "_" in text:  # Python's "1_000"; in a file it is a name
        raise ValueError(text)
    return int(text)


def _as_float(text: str) -> float:
    if "_" in text:
        raise ValueError(text)
    return float(text)


def _as_bool(text: str) -> bool:
    if text.lower() not in ("true", "false"):
        raise ValueError(text)
    return text.lower() == "true"


def _read_arrow(path: Path) -> dict[str, Any]:
    try:
        from pyarrow import feather, parquet
    except ImportError as problem:
        raise MissingDependencyError("PyArrow", "parquet", f"reading {path.name}") from problem
    read = feather.read_table if path.suffix.lower() == ".feather" else parquet.read_table
    try:
        table = read(path)
        return {printable(key): table[key].to_pylist() for key in table.column_names}
    except Exception as problem:  # PyArrow has errors of its own, and OSError
        raise DataError(f"{path} cannot be read: {str(problem).partition(chr(10))[0]}") from problem
