"""One value a sample, from any library: as a NumPy array that says which values are missing."""

from __future__ import annotations

import datetime
import decimal
import enum
import numbers
import sys
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import torch

from torchviz_layers._common.arrays import Array, as_numpy
from torchviz_layers._common.files import printable
from torchviz_layers.exceptions import DataError

Kind = Literal["bool", "int", "float", "text", "date", "sets"]
_NUMPY_KINDS: dict[str, Kind] = {"b": "bool", "i": "int", "u": "int", "f": "float", "M": "date"}
_MISSING_TYPES = {"NAType", "NaTType"}  # pandas.NA, pandas.NaT
_ONE_EACH = "give an array or a list with one value a sample"


@dataclass(frozen=True)
class PlainValues:
    """Values of samples.

    Attributes
    ----------
    kind : str
        "bool", "int", "float", "text", "date", or "sets": each sample has a list of labels.
    values : ndarray of shape (n, ...)
        Numbers as they were; text and sets as an array of objects, (n,); dates as datetime64. What stands where
        `missing` is True has no meaning.
    missing : ndarray of shape (n,)
        True for None, NaN, NaT and pandas.NA. Rows of arrays with more axes are not searched for NaN.
    order : tuple of str
        The order of the categories, if the data has one: of text, its values; of columns, their names.
    """

    kind: Kind
    values: Array
    missing: Array
    order: tuple[str, ...] = ()

    def __len__(self) -> int:
        return len(self.values)


def described(value: object) -> str:
    """Return what a value is, for a message: its type and its shape or its length."""
    if isinstance(value, torch.Tensor) and value.is_nested:  # without a shape
        return f"nested tensor of {len(value.unbind())} parts"
    if isinstance(value, (np.ndarray, torch.Tensor)):
        kind = "array" if isinstance(value, np.ndarray) else "tensor"
        return f"{kind} {tuple(value.shape)} of {str(value.dtype).removeprefix('torch.')}"
    if value is None or isinstance(value, (bool, int, float, str, bytes)):
        shown = repr(value)
        return shown if len(shown) <= 60 else f"{shown[:57]}..."
    kind = type(value).__qualname__
    if isinstance(value, (list, tuple, set, frozenset, Mapping)):
        return f"{kind} of length {len(value)}"
    return kind


def library_of(value: object) -> str:
    """Return the top-level package that defines the value's type, so that it is recognised without an import."""
    return type(value).__module__.partition(".")[0]


def plain_values(values: Any, what: str) -> PlainValues:
    """Read one value a sample.

    Parameters
    ----------
    values
        A tensor, an array (masked, too), a pandas or polars Series or DataFrame, a sparse matrix, or any iterable of
        numbers, text, bytes, dates, Enum members, 0-d tensors, and None.
    what
        What an error message calls the values.

    Raises
    ------
    DataError
        If these are no values of samples, or of several kinds.
    """
    if values is None or isinstance(values, (str, bytes, Mapping)):
        raise DataError(f"{what}: {described(values)} is not one value a sample; {_ONE_EACH}")
    try:
        found = _read(values, what)
    except DataError:
        raise
    except Exception as problem:  # conversions are the code of other libraries and may raise anything
        reason = str(problem).partition("\n")[0] or type(problem).__name__
        raise DataError(f"{what}: {described(values)} cannot be read ({reason}); {_ONE_EACH}") from problem
    if not len(found):
        raise DataError(f"{what}: there are none; {_ONE_EACH}")
    return found


def _read(values: Any, what: str) -> PlainValues:
    library = library_of(values)
    if library == "pandas":
        return _from_pandas(values, what)
    if library == "polars":
        return _from_polars(values, what)
    if isinstance(values, np.ma.MaskedArray):
        return _from_masked(values, what)
    if hasattr(values, "tocsr"):  # SciPy's sparse matrices
        values = values.toarray()
    if isinstance(values, torch.Tensor) and values.layout != torch.strided:
        values = values.to_dense()
    if isinstance(values, torch.Tensor) or hasattr(values, "__array__"):
        return _from_array(as_numpy(values), what)
    if isinstance(values, Iterable):
        return _from_list(list(values), what)
    raise DataError(f"{what}: {described(values)} is not one value a sample; {_ONE_EACH}")


def _from_array(array: Array, what: str) -> PlainValues:
    if array.ndim == 0:
        raise DataError(f"{what}: one value, {array}, is not one value a sample; {_ONE_EACH}")
    if array.dtype.kind in "OUST":
        if array.ndim == 2 and array.shape[1] == 1:
            array = array[:, 0]
        if array.ndim > 1 and array.dtype.kind != "O":
            raise DataError(f"{what}: text of shape {array.shape}; {_ONE_EACH}, values[:, 0] say")
        return _from_list(array.tolist(), what)
    if array.dtype.kind not in _NUMPY_KINDS:
        raise DataError(f"{what}: {described(array)}; numbers, text or dates are read")
    kind = _NUMPY_KINDS[array.dtype.kind]
    missing = np.zeros(len(array), bool)
    if array.ndim == 1 and kind in ("float", "date"):
        missing = np.isnan(array) if kind == "float" else np.isnat(array)
    return PlainValues(kind, array, missing)


def _from_masked(array: Any, what: str) -> PlainValues:
    plain = _from_array(np.asarray(array.data), what)
    masked = np.ma.getmaskarray(array).reshape(len(plain), -1).all(axis=1)
    return PlainValues(plain.kind, plain.values, plain.missing | masked)


def _from_pandas(values: Any, what: str) -> PlainValues:
    pandas = sys.modules["pandas"]
    if isinstance(values, pandas.DataFrame):
        return _from_frame([values.iloc[:, i] for i in range(values.shape[1])], values.columns, what)
    series = pandas.Series(values)
    if isinstance(series.dtype, pandas.CategoricalDtype):
        codes = series.cat.codes.to_numpy()
        order = tuple(printable(str(category)) for category in series.cat.categories)
        text = np.array([*order, ""], object)[codes]  # the code -1, missing, takes the last
        return PlainValues("text", text, codes < 0, order)
    if series.dtype.kind == "M":  # with a time zone: as UTC
        return _from_array(series.to_numpy("datetime64[ns]"), what)
    if isinstance(series.dtype, np.dtype) and series.dtype.kind != "O":
        return _from_array(series.to_numpy(), what)
    present = series.notna().to_numpy()
    return _from_list([v if ok else None for v, ok in zip(series.tolist(), present, strict=True)], what)


def _from_polars(values: Any, what: str) -> PlainValues:
    if hasattr(values, "get_columns"):
        return _from_frame(values.get_columns(), values.columns, what)
    plain = _from_list(values.to_list(), what)
    # Only an Enum's categories have an order of their own; those of a Categorical are in the order of appearance, of
    # all series of the process.
    if str(values.dtype).startswith("Enum"):
        return PlainValues(plain.kind, plain.values, plain.missing, tuple(values.dtype.categories.to_list()))
    return plain


def _from_frame(columns: list[Any], names: Iterable[Any], what: str) -> PlainValues:
    """Read the columns of a DataFrame side by side, (n, k); a single column as (n,)."""
    read = [plain_values(column, what) for column in columns]
    if len(read) == 1:
        return read[0]
    if not read or any(column.kind not in ("bool", "int", "float") for column in read):
        raise DataError(f"{what}: a table with columns {', '.join(map(str, names))}; name one of them")
    values = [np.where(column.missing, np.nan, column.values) for column in read]
    every = np.logical_and.reduce([column.missing for column in read])
    return PlainValues("float", np.stack(values, axis=1), every, tuple(map(str, names)))


def _from_list(items: list[Any], what: str) -> PlainValues:
    if set(map(type, items)) in ({bool}, {int}, {float}):  # usual, and many times faster
        array = np.array(items)
        if array.dtype in (np.bool_, np.int64, np.float64) and type(array[0].item()) is type(items[0]):
            return _from_array(array, what)
    items = [_single(item) for item in items]
    missing = np.array([item is None for item in items], bool)
    present = [item for item in items if item is not None]
    order: tuple[str, ...] = ()
    if present and isinstance(present[0], enum.Enum):
        order = tuple(member.name for member in type(present[0]))
        present = [item.name if isinstance(item, enum.Enum) else item for item in present]
    kinds = {_kind_of(item, what) for item in present}
    if kinds <= {"bool", "int", "float"} and len(kinds) > 1:
        kinds = {"float"} if "float" in kinds else {"int"}
    if len(kinds) > 1:
        raise DataError(
            f"{what}: {' and '.join(sorted(kinds))} among the same values; give them as one kind, "
            "[str(value) for value in values] say"
        )
    kind: Kind = kinds.pop() if kinds else "float"
    if kind == "sets":
        return _from_collections(items, missing)
    if kind == "int" and max(map(abs, present)) >= 2**63:
        kind, present = "text", list(map(str, present))  # hashes and the like
    dtypes: dict[Kind, Any] = {
        "bool": np.bool_,
        "int": np.int64,
        "float": np.float64,
        "text": object,
        "date": "datetime64[us]",
    }
    values = np.zeros(len(items), dtypes[kind])
    if kind == "text":
        values[:] = ""
    values[~missing] = present
    return PlainValues(kind, values, missing, order)


def _from_collections(items: list[Any], missing: Array) -> PlainValues:
    """Read rows of numbers of one length as an array (n, k), and others as sets of labels."""
    present = [item for item in items if item is not None]
    if not any(isinstance(item, frozenset) for item in present):
        try:
            rows = np.array(present)
        except ValueError:  # of different lengths
            rows = np.empty(0, object)
        if rows.dtype.kind in "biuf" and rows.size:
            values = np.zeros((len(items), *rows.shape[1:]), rows.dtype)
            values[~missing] = rows
            return PlainValues(_NUMPY_KINDS[rows.dtype.kind], values, missing)
    sets = np.empty(len(items), object)
    for row, item in enumerate(items):
        sets[row] = [] if item is None else item if isinstance(item, frozenset) else list(item)
    return PlainValues("sets", sets, missing)


def _single(item: Any) -> Any:
    """Return one sample's value as a plain Python object; None where it is missing."""
    if isinstance(item, torch.Tensor):
        item = item.item() if item.ndim == 0 else as_numpy(item)
    elif isinstance(item, (np.generic, np.ndarray)) and item.ndim == 0 and item.dtype.kind != "M":
        item = item.item()
    if isinstance(item, np.datetime64):
        return None if np.isnat(item) else item
    if not isinstance(item, (int, float)) and isinstance(item, (decimal.Decimal, numbers.Real)):
        item = float(item)
    if isinstance(item, float):
        return None if item != item else item
    if isinstance(item, bytes):
        item = item.decode("utf-8", "backslashreplace")
    if isinstance(item, enum.IntEnum):
        return int(item)
    if isinstance(item, str) and not isinstance(item, enum.Enum):
        return printable(item)
    if type(item).__name__ in _MISSING_TYPES:
        return None
    if isinstance(item, (list, tuple)):
        return [_single(part) for part in item]
    if isinstance(item, (set, frozenset)):
        return frozenset(map(_single, item))
    if isinstance(item, datetime.datetime) and item.tzinfo is not None:
        return item.astimezone(datetime.UTC).replace(tzinfo=None)
    return item


def _kind_of(item: Any, what: str) -> Kind:
    kinds: tuple[tuple[type | tuple[type, ...], Kind], ...] = (
        (bool, "bool"),  # before int, of which it is a kind
        (int, "int"),
        (float, "float"),
        (str, "text"),
        ((datetime.date, np.datetime64), "date"),
        ((list, frozenset, np.ndarray), "sets"),
    )
    for types, kind in kinds:
        if isinstance(item, types):
            return kind
    raise DataError(
        f"{what}: one of them is a {described(item)}; numbers, text or dates are read, one a sample; leave others out"
    )
