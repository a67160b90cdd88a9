"""The reader's own columns, of any library, compared with pandas."""

import datetime

import numpy as np
import pandas as pd
import pytest
import torch

from torchviz_layers.data.columns import read_columns
from torchviz_layers.exceptions import DataError

FRAME = pd.DataFrame(
    {
        "age": [31.5, np.nan, 40.0],
        "count": pd.array([1, None, 3], dtype="Int64"),
        "site": ["A", None, "B"],
        "size": pd.Categorical(["small", None, "large"], categories=["small", "large"]),
        "seen": pd.to_datetime(["2024-02-29", None, "2025-01-01"]),
        "ill": pd.array([True, None, False], dtype="boolean"),
        "fit": [True, False, True],
    }
)
EXPECTED = {
    "age": np.array([31.5, np.nan, 40]),
    "count": np.array([1, np.nan, 3]),
    "site": np.array(["A", "", "B"]),
    "size": np.array(["small", "", "large"]),
    "seen": np.array(["2024-02-29", "NaT", "2025-01-01"], "M8[us]"),
    "ill": np.array(["True", "", "False"]),
    "fit": np.array([True, False, True]),
}


def assert_same(found, expected):
    assert list(found) == list(expected)
    for name, values in expected.items():
        assert found[name].dtype.kind == values.dtype.kind, name
        if values.dtype.kind in "fM":
            gaps = pd.isna(values)
            assert np.array_equal(pd.isna(found[name]), gaps), name
            assert np.array_equal(found[name][~gaps], values[~gaps]), name
        else:
            assert found[name].tolist() == values.tolist(), name


def test_a_pandas_table_has_numbers_text_and_dates():
    assert_same(read_columns(FRAME, 3), EXPECTED)


def test_lists_and_arrays_are_read_as_a_table_of_them_would_be():
    lists = {name: [None if pd.isna(value) else value for value in FRAME[name]] for name in FRAME}
    assert_same(read_columns(lists, 3), EXPECTED)


def test_a_polars_table_is_read_as_one_of_pandas_would_be():
    pl = pytest.importorskip("polars")
    lists = {name: [None if pd.isna(value) else value for value in FRAME[name]] for name in FRAME}
    assert_same(read_columns(pl.DataFrame(lists), 3), EXPECTED)


def test_a_structured_array_and_other_kinds_of_one_value_a_sample_are_read():
    structured = np.array([(1, "x"), (2, "y")], dtype=[("a", int), ("b", "U1")])
    assert {k: v.tolist() for k, v in read_columns(structured, 2).items()} == {"a": [1, 2], "b": ["x", "y"]}
    columns = {
        "tensor": torch.tensor([1, 2], dtype=torch.bfloat16),
        "column": np.array([[1], [2]]),
        "masked": np.ma.array([1, 2], mask=[0, 1]),
        "bytes": [b"x", b"y"],
        "series": pd.Series([1, 2], index=[7, 8]),
        3: range(2),
    }
    found = read_columns(columns, 2)
    assert found["tensor"].tolist() == found["series"].tolist() == found["column"].tolist() == [1, 2]
    assert np.array_equal(found["masked"], [1, np.nan], equal_nan=True)
    assert found["bytes"].tolist() == ["x", "y"]
    assert found["3"].tolist() == [0, 1]


def test_dates_with_a_time_zone_become_utc():
    zone = datetime.timezone(datetime.timedelta(hours=2))
    noon = datetime.datetime(2024, 5, 1, 12, tzinfo=zone)
    for values in ([noon], pd.Series([noon])):
        assert read_columns({"when": values}, 1)["when"][0] == np.datetime64("2024-05-01T10:00:00")


def test_a_column_of_gaps_alone_is_kept():
    assert np.isnan(read_columns({"empty": [None, None]}, 2)["empty"]).all()


@pytest.mark.parametrize(
    ("columns", "message"),
    [
        ({"age": [1, 2]}, "the column 'age': 2 values for 3 samples"),
        ({"age": 7}, "the column 'age': 7 is not one value a sample"),
        ({"site": "A"}, "the column 'site': 'A' is not one value a sample"),
        ({"xy": np.zeros((3, 2))}, r"the column 'xy': several values a sample, of shape \(3, 2\)"),
        ({"tags": [["a"], ["b"], ["a", "b"]]}, "the column 'tags': several values a sample"),
        ({"any": [{}, {}, {}]}, "the column 'any': one of them is a dict"),
        ({"mix": [1, "a", 2]}, "the column 'mix': int and text"),
        ({"z": np.zeros(3, complex)}, "the column 'z': array .* of complex128"),
        ({1: [1, 2, 3], "1": [1, 2, 3]}, "several columns '1'"),
        (["age"], "columns=list of length 1; give a mapping"),
        ("age", "columns='age'; give a mapping"),
        (pd.Series([1, 2, 3]), "columns=Series; give a mapping"),
        (np.zeros((3, 2)), r"columns=array \(3, 2\) of float64"),
    ],
)
def test_what_is_no_column_is_named(columns, message):
    with pytest.raises(DataError, match=message):
        read_columns(columns, 3)


def test_the_callers_arrays_stay_as_they_are():
    ages = np.array([1.0, 2.0])
    read_columns({"age": ages}, 2)["age"][:] = 0
    assert ages.tolist() == [1, 2]
