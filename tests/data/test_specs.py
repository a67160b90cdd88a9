"""What `--data` names: known names, folders, files of every kind, and functions of the caller's."""

import json
import sys

import numpy as np
import pandas as pd
import pytest
import torch
from torch.utils.data import DataLoader, IterableDataset, TensorDataset

from tests.data.picture_files import picture
from torchviz_layers import Samples, load_dataset
from torchviz_layers.data import parse_data_spec
from torchviz_layers.exceptions import DataError, ModelError
from torchviz_layers.models import load_model

HERE = __name__
ROWS = torch.arange(12.0).reshape(6, 2)
LABELS = torch.tensor([0, 1, 1, 0, 1, 0])

ready = TensorDataset(ROWS, LABELS)
nothing = None
number = 3


class Callable(TensorDataset):
    def __call__(self):
        raise AssertionError("data that can be called are taken as they are")


callable_data = Callable(ROWS, LABELS)


class Made(TensorDataset):
    def __init__(self):
        super().__init__(ROWS, LABELS)


class Endless(IterableDataset):
    def __iter__(self):
        while True:
            yield torch.zeros(2), 1


def make_loader():
    return DataLoader(ready, 4)


def make_pair():
    return ROWS.numpy(), ["b", "a", "a", "b", "a", "b"]


def make_frame():
    return pd.DataFrame({"a": range(6), "b": range(6), "kind": [*"xyxyxy"]})


def make_samples():
    return Samples.of(ROWS, name="mine")


def make_generator():
    return (row for row in ROWS)


def returns_nothing():
    pass


def fails():
    raise ValueError("the disk is gone")


def needs_a_folder(folder):
    return folder


def inputs_of(samples):
    return torch.cat([torch.as_tensor(np.asarray(inputs)) for inputs, _, _ in samples.batches()])


@pytest.mark.parametrize(
    "name",
    ["ready", "callable_data", "Made", "make_loader", "make_pair", "make_samples", "make_generator"],
)
def test_a_function_a_class_or_the_data_themselves_are_named_by_their_module(name):
    samples = parse_data_spec(f"{HERE}:{name}")
    assert torch.equal(inputs_of(samples), ROWS)
    assert samples.name == ("mine" if name == "make_samples" else name)


def test_targets_name_the_column_of_what_a_function_returns():
    samples = parse_data_spec(f"{HERE}:make_frame", targets="kind")
    assert samples.class_names == ("x", "y")
    assert inputs_of(samples).shape == (6, 2)


def test_a_limit_leaves_the_classes_of_all_samples_in_their_order():
    text = ["bee", "cat", "ant", "bee", "cat", "ant"]
    frame = pd.DataFrame({"x": range(6), "y": text})
    for samples in (Samples.of((ROWS, text), limit=2), Samples.of(frame, targets="y", limit=2)):
        assert len(samples) == 2
        assert samples.class_names == ("ant", "bee", "cat")
        assert samples.targets.tolist() == [1, 2]
        assert "sorted order (ant, bee, cat)" in samples.notice


def test_a_limit_reads_no_more_of_endless_data():
    assert len(parse_data_spec(f"{HERE}:Endless", limit=5)) == 5
    assert len(parse_data_spec(f"{HERE}:ready", limit=2)) == 2


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        (f"{HERE}:absent", "has no 'absent'.*expected a name"),
        (f"{HERE}:nothing", "has no 'nothing'"),
        (f"{HERE}:returns_nothing", "returned None; it must return data"),
        (f"{HERE}:fails", "failed: ValueError: the disk is gone"),
        (f"{HERE}:needs_a_folder", "failed: TypeError: .*'folder'"),
        (f"{HERE}:number", ":number': .*accepted"),
        ("no.such.module:make", r"not found \(No module named 'no'\): expected a name"),
        (":make", "names joined by dots are needed"),
        ("data.py:make", "names joined by dots are needed, without .py"),
        ("./data.py:make", "names joined by dots"),
        ("mnist:validation", "has 'test' and 'train'"),
        ("nonsense", r"'nonsense' is no dataset: expected a name \(mnist, .*digits; mnist:train\), a folder"),
        ("", "'' is no dataset"),
        ("table.csv:train", "there is no table.csv; expected a name"),
    ],
)
def test_what_is_not_found_says_what_is_expected(spec, message):
    with pytest.raises(DataError, match=message):
        parse_data_spec(spec)


def test_a_function_may_be_in_the_current_folder(tmp_path, monkeypatch):
    (tmp_path / "own_rows_of_a_test.py").write_text("def make():\n    return [[1.0, 2.0], [3.0, 4.0]]\n")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [*sys.path])
    assert inputs_of(parse_data_spec("own_rows_of_a_test:make")).tolist() == [[1, 2], [3, 4]]


def test_an_error_while_importing_is_the_datas_or_the_models(tmp_path, monkeypatch):
    (tmp_path / "own_data_of_a_test.py").write_text("import no_such_library\n")
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(DataError, match=r"own_data_of_a_test:make' was not found .*no_such_library"):
        parse_data_spec("own_data_of_a_test:make")
    with pytest.raises(ModelError, match=r"model 'own_data_of_a_test:make' was not found .*no_such_library"):
        load_model("own_data_of_a_test:make")


def test_a_folder_wins_over_a_module_unless_it_is_a_package_without_that_split(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    picture(tmp_path / "own_pets" / "train" / "cat" / "a.png")
    assert parse_data_spec("own_pets:train").class_names == ("cat",)
    with pytest.raises(DataError, match="own_pets"):
        parse_data_spec("own_pets:make")
    (tmp_path / "own_pets" / "__init__.py").write_text("make = [[1.0, 2.0], [3.0, 4.0]]\n")
    assert parse_data_spec("own_pets:train").class_names == ("cat",)
    assert len(parse_data_spec("own_pets:make")) == 2


def test_a_name_goes_before_a_folder_and_a_path_may_have_a_colon(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    picture(tmp_path / "digits" / "cat" / "a.png")
    assert parse_data_spec("digits", limit=3).dataset == "digits"
    picture(tmp_path / "12:30" / "cat" / "a.png")
    assert parse_data_spec("12:30").class_names == ("cat",)


def test_a_folder_of_pictures_without_classes_has_no_task(tmp_path):
    for name in ("b.png", "a.png", ".hidden.png"):
        picture(tmp_path / name)
    (tmp_path / "notes").mkdir()
    samples = load_dataset(tmp_path)
    assert samples.task is None
    assert samples.targets is None
    assert samples.ids.tolist() == ["a.png", "b.png"]
    assert samples.view == "image"
    assert len(load_dataset(tmp_path, limit=1)) == 1
    picture(tmp_path / "notes" / "c.png")  # now there is a class
    assert load_dataset(tmp_path).class_names == ("notes",)


def test_files_of_a_kind_that_is_not_read_are_counted_without_classes_too(tmp_path):
    picture(tmp_path / "a.png")
    (tmp_path / "b.heic").write_bytes(b"x")
    assert load_dataset(tmp_path).notice == "1 file left out: of a kind that is not read as a picture (.heic)"


@pytest.mark.parametrize("suffix", [".csv", ".parquet"])
def test_a_table_has_its_targets_in_a_column(suffix, tmp_path):
    frame = pd.DataFrame({"age": [31, 25, 40, 18], "weight": [0.5, 1.5, 2, 3], "kind": [*"dcdb"]})
    path = tmp_path / f"pets{suffix}"
    if suffix == ".csv":
        frame.to_csv(path, index=False)
    else:
        pytest.importorskip("pyarrow")
        frame.to_parquet(path)
    samples = parse_data_spec(str(path), targets="kind")
    assert samples.view == "row"
    assert samples.task == "classification"
    assert samples.class_names == ("b", "c", "d")
    assert samples.name == "pets"
    assert np.array_equal(inputs_of(samples), frame[["age", "weight"]].to_numpy("f4"))
    assert parse_data_spec(str(path), targets="weight").task == "regression"
    first = load_dataset(path, targets="kind", limit=2)
    assert first.class_names == ("b", "c", "d")  # of the whole table: the network's outputs
    assert first.targets.tolist() == [2, 1]


def test_an_array_has_its_targets_in_another_file(tmp_path):
    np.save(tmp_path / "X.npy", ROWS.numpy())
    np.save(tmp_path / "y.npy", LABELS.numpy())
    samples = parse_data_spec(str(tmp_path / "X.npy"), targets=str(tmp_path / "y.npy"))
    assert samples.targets.tolist() == LABELS.tolist()
    assert torch.equal(inputs_of(samples), ROWS)
    assert parse_data_spec(str(tmp_path / "X.npy")).task is None


def test_an_npz_with_other_samples_than_pictures_is_read(tmp_path):
    path = tmp_path / "rows.npz"
    np.savez(path, X=ROWS, y=LABELS, age=LABELS + 0.5)
    samples = load_dataset(path)
    assert samples.view == "row"
    assert samples.targets.tolist() == LABELS.tolist()
    assert parse_data_spec(str(path), targets="age").task == "regression"
    np.savez(path, x_test=np.zeros((4, 300, 2), "f4"), y_test=["a", "b", "a", "b"])
    assert load_dataset(path).view == "series"
    assert load_dataset(path).class_names == ("a", "b")
    with pytest.raises(DataError, match="targets='ages' is none of its arrays; it has x_test, y_test"):
        load_dataset(path, targets="ages")


def test_a_text_file_has_a_sample_a_line(tmp_path):
    path = tmp_path / "reviews.txt"
    path.write_text("good, très bien\n\nbad\n", encoding="utf-8-sig")
    samples = parse_data_spec(str(path))
    assert samples.view == "text"
    assert samples.shown.texts == ["good, très bien", "bad"]
    assert samples.task is None


def test_json_lines_have_samples_and_their_labels(tmp_path):
    path = tmp_path / "reviews.jsonl"
    lines = [{"text": "good", "label": "pos", "stars": 5}, {"text": "bad", "label": "neg", "stars": 1}]
    path.write_text("\n".join(map(json.dumps, lines)))
    samples = parse_data_spec(str(path))
    assert samples.shown.texts == ["good", "bad"]
    assert samples.class_names == ("neg", "pos")
    assert parse_data_spec(str(path), targets="stars").targets.tolist() == [5, 1]


@pytest.mark.parametrize(
    ("name", "content", "options", "message"),
    [
        ("x.npy", b"", {}, "x.npy cannot be read"),
        ("x.npy", b"no array", {}, "cannot be read.*np.save"),
        ("x.npy", b"", {"targets": "label"}, r"targets='label': of x.npy they are another .npy file"),
        ("x.txt", b"\n\n", {}, "is empty; a sample a line"),
        ("x.txt", b"\xff\xfe", {}, "cannot be read.*UTF-8"),
        ("x.txt", b"a\n", {"targets": "label"}, "x.txt has texts alone"),
        ("x.jsonl", b"", {}, "is empty; a JSON object a line"),
        ("x.jsonl", b'{"text": "a"}\n{text}\n', {}, "line 2: .*a JSON object a line"),
        ("x.csv", b"a,b\n1,2\n", {"targets": "c"}, "targets='c' is no column; the table has a, b"),
        ("x.csv", b"a,b\n1,2\n", {"split": "train"}, "has no split 'train': a file .csv is one set"),
        ("x.bin", b"", {}, "is no dataset: expected a name"),
    ],
)
def test_a_file_that_cannot_be_used_is_named(name, content, options, message, tmp_path):
    (tmp_path / name).write_bytes(content)
    with pytest.raises(DataError, match=f"(?s){message}"):
        load_dataset(tmp_path / name, **options)


def test_an_array_of_objects_is_no_data_and_no_pickle_is_recommended(tmp_path):
    np.save(tmp_path / "x.npy", np.array([object()]))
    with pytest.raises(DataError, match="cannot be read") as found:
        load_dataset(tmp_path / "x.npy")
    assert "allow_pickle=True" not in str(found.value)


def test_names_and_folders_have_labels_of_their_own(tmp_path):
    picture(tmp_path / "cat" / "a.png")
    for name in ("digits", tmp_path):
        with pytest.raises(DataError, match="has its labels; targets= are those of a file"):
            load_dataset(name, targets="label")
