"""Tables in memory and in files, compared with pandas."""

import sys

import numpy as np
import pandas as pd
import pytest
import torch

from torchviz_layers import Samples
from torchviz_layers.data.table_files import TABLE_SUFFIXES, read_table_file
from torchviz_layers.data.tables import is_table, read_table
from torchviz_layers.data.targets import read_targets
from torchviz_layers.exceptions import DataError, MissingDependencyError

FRAME = pd.DataFrame(
    {
        "age": [31, 25, 40],
        "kind": ["cat", "dog", None],
        "weight": [0.5, 1.25, 2.0],
        "fit": [True, False, True],
        "city": ["Oslo, north", 'the "big" one', "Rome"],
        "seen": pd.to_datetime(["2024-02-29 00:00", "2024-03-01 10:30", "2025-01-01 00:00"]),
    },
    index=["x", "y", "z"],
)


def test_columns_of_numbers_are_fed_and_the_others_shown():
    table = read_table(FRAME, targets="kind")
    assert table.row_names == ("age", "weight", "fit")
    assert table.inputs.dtype == np.float32
    assert np.array_equal(table.inputs, FRAME[["age", "weight", "fit"]].to_numpy("f4"))
    assert list(table.columns) == ["city", "seen"]
    assert table.columns["city"].tolist() == FRAME["city"].tolist()
    assert table.ids.tolist() == ["x", "y", "z"]
    assert read_targets(table.targets).values.tolist() == [0, 1, -1]
    assert table.notice == "city, seen are not numeric: shown, not fed to the network"


def test_named_columns_are_shown_and_not_fed():
    table = read_table(FRAME, targets="kind", columns=["age", "city", "seen"])
    assert table.row_names == ("weight", "fit")
    assert table.columns["age"].tolist() == [31, 25, 40]
    assert not table.notice


def test_targets_and_further_columns_may_be_given_beside_a_table():
    table = read_table(FRAME[["age", "weight"]], targets=[0, 1, 0], columns={"site": ["A", "B", "A"]})
    assert table.targets == [0, 1, 0]
    assert table.columns["site"].tolist() == ["A", "B", "A"]
    assert table.inputs.shape == (3, 2)


def test_several_columns_are_several_labels():
    frame = FRAME.assign(slim=[0, 1, 1])
    table = read_table(frame, targets=["fit", "slim"])
    assert table.row_names == ("age", "weight")
    assert read_targets(table.targets).task == "multilabel"
    assert read_targets(table.targets).values.tolist() == [[True, False], [False, True], [True, True]]


def test_columns_that_are_numbered_are_named_by_their_number():
    frame = pd.DataFrame(np.arange(6).reshape(3, 2))
    table = read_table(frame, targets=1)
    assert table.row_names == ("0",)
    assert list(table.targets) == [1, 3, 5]


@pytest.mark.parametrize(
    ("index", "ids"),
    [
        (pd.RangeIndex(3), None),
        ([7, 2, 9], [7, 2, 9]),
        (["a", "a", "b"], None),
        (pd.MultiIndex.from_tuples([(0, 1), (0, 2), (1, 1)]), None),
    ],
    ids=["numbered", "rows of a larger table", "not unique", "of several levels"],
)
def test_the_index_is_the_ids_if_it_names_the_rows(index, ids):
    found = read_table(FRAME.set_axis(index), targets="kind").ids
    assert ids == (None if found is None else found.tolist())


def test_a_polars_table_is_read_as_one_of_pandas_would_be():
    pl = pytest.importorskip("polars")
    frame = pl.DataFrame({name: [None if pd.isna(v) else v for v in FRAME[name]] for name in FRAME})
    expected = read_table(FRAME, targets="kind")
    for data in (frame, frame.lazy()):
        assert is_table(data)
        table = read_table(data, targets="kind")
        assert np.array_equal(table.inputs, expected.inputs)
        assert table.row_names == expected.row_names
        assert table.columns["city"].tolist() == expected.columns["city"].tolist()
        assert table.ids is None


@pytest.mark.parametrize(
    ("frame", "options", "message"),
    [
        (FRAME, {"targets": "kin"}, "targets='kin' is no column; the table has age, kind.*did you mean 'kind'"),
        (FRAME, {"columns": ["years"]}, "columns='years' is no column; the table has age"),
        (FRAME, {"columns": {"site": ["A"]}}, "the column 'site': 1 values for 3 samples"),
        (FRAME, {"columns": 7}, "columns=7; give a mapping"),
        (FRAME, {"targets": ["kind", "fit"]}, "the columns kind, fit as targets must be 0 or 1"),
        (FRAME[["kind", "city"]], {"targets": "kind"}, "none of the columns kind, city is left.*get_dummies"),
        (FRAME[:0], {}, "the table has no rows"),
        (pd.DataFrame([[1, 2]], columns=["a", "a"]), {}, "several columns 'a'"),
        (FRAME.assign(age=[1, np.nan, np.inf]), {}, r"2 rows have no finite number .* in age \(rows 1, 2\).*fillna"),
        (FRAME.assign(age=[1, 1e300, 2]), {}, r"1 rows have no finite number \(float32\) in age"),
    ],
)
def test_a_table_that_cannot_be_fed_says_what_would_mend_it(frame, options, message):
    with pytest.raises(DataError, match=f"(?s){message}"):
        read_table(frame, **options)


def test_what_is_no_table_is_named():
    with pytest.raises(DataError, match="list of length 1 is no table"):
        read_table([1])


def test_a_gap_in_a_column_that_is_only_shown_is_none_of_the_networks():
    table = read_table(FRAME.assign(age=[1, np.nan, 2]), columns=["age"])
    assert np.isnan(table.columns["age"][1])
    assert np.isfinite(table.inputs).all()


def written(path, frame):
    if path.suffix == ".csv":
        frame.to_csv(path)
    elif path.suffix == ".tsv":
        frame.to_csv(path, sep="\t")
    else:
        pytest.importorskip("pyarrow")
        frame.to_parquet(path) if path.suffix == ".parquet" else frame.reset_index().to_feather(path)
    return path


@pytest.mark.parametrize("suffix", TABLE_SUFFIXES)
def test_a_file_holds_the_table_that_pandas_wrote(suffix, tmp_path):
    expected = read_table(FRAME, targets="kind")
    table = read_table(read_table_file(written(tmp_path / f"t{suffix}", FRAME)), targets="kind")
    assert np.array_equal(table.inputs, expected.inputs)
    assert table.row_names == expected.row_names
    assert table.columns["city"].tolist() == FRAME["city"].tolist()
    assert (table.columns["seen"] == FRAME["seen"].to_numpy()).all()
    assert read_targets(table.targets).values.tolist() == [0, 1, -1]
    ids = table.columns["index"] if suffix == ".feather" else table.ids
    assert ids.tolist() == ["x", "y", "z"]


def test_the_numbers_of_pandas_rows_are_ids_and_not_fed(tmp_path):
    frame = FRAME.reset_index(drop=True)
    table = read_table(read_table_file(written(tmp_path / "t.csv", frame)), targets="kind")
    assert table.row_names == ("age", "weight", "fit")
    assert table.ids.tolist() == [0, 1, 2]


def test_a_column_of_a_csv_file_is_what_all_its_values_are(tmp_path):
    path = tmp_path / "t.csv"
    path.write_text(
        "n,x,b,mixed,part,e,day\n1,.5,true,1,1,,2020_01\n-2,NA,False,x,,,2020_02\n3,1e3,TRUE,2,nan,,2020_03\n\n",
        encoding="utf-8-sig",
    )
    columns = read_table_file(path).columns
    assert columns["n"] == [1, -2, 3]
    assert columns["x"] == [0.5, None, 1000]
    assert columns["b"] == [True, False, True]
    assert columns["mixed"] == ["1", "x", "2"]
    assert columns["part"] == [1, None, None]
    assert columns["e"] == [None] * 3
    assert columns["day"] == ["2020_01", "2020_02", "2020_03"]
    as_pandas = pd.read_csv(path)
    assert list(columns) == list(as_pandas)
    for name in ("n", "x", "part"):
        assert np.array_equal(np.array(columns[name], float), as_pandas[name], equal_nan=True)


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("absent.csv", None, "there is no such file"),
        ("t.csv", b"", "is empty"),
        ("t.csv", b"a,b\n", "has no rows"),
        ("t.csv", b"a,a\n1,2\n", "several columns 'a'"),
        ("t.csv", b"a,b\n1,2\n1\n", "row 3 has 1 values for 2 columns"),
        ("t.csv", b"a\n\xff\xfe\n", "cannot be read"),
        ("t.parquet", b"no table", "cannot be read"),
        ("t.feather", b"no table", "cannot be read"),
    ],
)
def test_a_file_without_a_table_is_named(name, content, message, tmp_path):
    if content is not None:
        (tmp_path / name).write_bytes(content)
    if content and not name.endswith("csv"):
        pytest.importorskip("pyarrow")
    with pytest.raises(DataError, match=message):
        read_table_file(tmp_path / name)


def test_without_pyarrow_the_command_that_installs_it_is_named(tmp_path, monkeypatch):
    (tmp_path / "t.parquet").write_bytes(b"")
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    with pytest.raises(MissingDependencyError, match="pip install 'torchviz-layers\\[parquet\\]'"):
        read_table_file(tmp_path / "t.parquet")


def test_other_objects_are_no_tables():
    assert is_table(FRAME)
    for other in (FRAME["age"], FRAME.to_numpy(), {"a": [1]}, [1], None):
        assert not is_table(other)


SENTENCES = pd.DataFrame(
    {"n": [1, 2, 3], "author": ["A", "B", "A"], "text": ["x y", "y", "x"], "label": ["q", "p", "q"]}
)


def lengths(texts, **_options):
    return {"input_ids": torch.tensor([[len(text)] for text in texts])}


def test_with_a_tokenizer_the_texts_of_a_table_are_fed_and_its_numbers_shown():
    samples = Samples.of(SENTENCES, targets="label", tokenizer=lengths)
    ((inputs, _, _),) = samples.batches()
    assert inputs["input_ids"].tolist() == [[3], [1], [1]]
    assert (samples.view, samples.shown.texts) == ("text", ["x y", "y", "x"])
    assert {name: values.tolist() for name, values in samples.columns.items()} == {
        "n": [1, 2, 3],
        "author": ["A", "B", "A"],
    }
    assert samples.targets.tolist() == [1, 0, 1]
    assert "the texts are those of text: author only shown" in samples.notice


def test_a_table_without_texts_for_the_tokenizer_is_refused():
    with pytest.raises(DataError, match="none of the columns n is text for tokenizer="):
        Samples.of(SENTENCES[["n"]], tokenizer=lengths)
    with pytest.raises(DataError, match=r"1 rows have no text in text \(rows 1\)"):
        Samples.of(SENTENCES.assign(text=["x", None, "y"]), targets="label", tokenizer=lengths)


def test_transform_makes_the_inputs_of_a_tables_rows():
    samples = Samples.of(SENTENCES[["n", "label"]], targets="label", transform=lambda row: torch.from_numpy(row) * 2)
    ((inputs, _, _),) = samples.batches()
    assert inputs.tolist() == [[2.0], [4.0], [6.0]]
    assert samples.shown.rows.tolist() == [[1.0], [2.0], [3.0]]


def test_a_table_may_stand_beside_its_targets():
    table = SENTENCES[["n"]].set_index(pd.Index(["a", "b", "c"]))
    samples = Samples.of((table, SENTENCES["label"]))
    assert samples.targets.tolist() == [1, 0, 1]
    assert samples.ids.tolist() == ["a", "b", "c"]
    assert samples.shown.row_names == ("n",)
    ((inputs, _, _),) = samples.batches()
    assert inputs.tolist() == [[1.0], [2.0], [3.0]]
