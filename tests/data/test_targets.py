"""Targets of every kind, held to scikit-learn's `type_of_target`."""

import decimal
import enum
import random

import numpy as np
import pandas as pd
import pytest
import scipy.sparse
import torch
from sklearn.preprocessing import LabelEncoder, MultiLabelBinarizer
from sklearn.utils.multiclass import type_of_target

from torchviz_layers.data.targets import read_targets
from torchviz_layers.exceptions import DataError

TASK_OF_KIND = {
    "binary": "classification",
    "multiclass": "classification",
    "continuous": "regression",
    "multilabel-indicator": "multilabel",
}


class Animal(enum.Enum):
    ZEBRA = 1
    ANT = 2


class Side(enum.IntEnum):
    LEFT = 0
    RIGHT = 1


def drawn_targets(seed):
    """Targets without missing ones, of a random kind and shape."""
    rng = np.random.default_rng(seed)
    n, k = int(rng.integers(2, 20)), int(rng.integers(2, 6))
    labels = rng.integers(0, k, n)
    rows = rng.integers(0, 2, (n, k))
    rows[0, :2] = 1  # not one-hot
    kinds = {
        "whole numbers": labels,
        "whole floats": labels.astype(np.float32),
        "bools": labels > 0,
        "text": np.array([*"abcdef"])[labels],
        "objects of text": np.array([*"abcdef"], object)[labels],
        "a column": labels[:, None],
        "a column of floats": labels[:, None] + 0.5,
        "other floats": labels + 0.25,
        "rows of 0 and 1": rows,
        "rows of bools": rows.astype(bool),
        "rows of floats": rows.astype(np.float64),
        "several numbers": rows + np.arange(k),
        "several values": rows + rng.random((n, k)),
        "a list": labels.tolist(),
        "a list of lists": rows.tolist(),
    }
    return list(kinds.items())[seed % len(kinds)]


@pytest.mark.parametrize("seed", range(45))
def test_scikit_learn_decides_the_task(seed):
    kind, values = drawn_targets(seed)
    expected = TASK_OF_KIND.get(type_of_target(values))
    if expected is None:
        with pytest.raises(DataError, match=r"give targets\[:, 0\]"):
            read_targets(values)
        return
    targets = read_targets(values)
    assert targets.task == expected, kind
    if expected == "regression":
        assert np.array_equal(targets.values, np.ravel(values))
    elif expected == "multilabel":
        assert targets.values.dtype == bool
        assert np.array_equal(targets.values, np.asarray(values).astype(bool))
    else:
        assert targets.values.dtype == np.int64
        names = np.array(targets.class_names)[targets.values]
        text = np.ravel(values) if np.asarray(values).dtype.kind not in "f" else np.ravel(values).astype(int)
        assert names.tolist() == [str(value) for value in text.tolist()]


def test_rows_of_two_other_numbers_are_refused_where_scikit_learn_takes_them():
    rows = [[-1, 1], [1, 1], [-1, -1]]
    assert type_of_target(rows) == "multilabel-indicator"
    with pytest.raises(DataError, match="targets > 0"):
        read_targets(rows)
    assert read_targets(np.array(rows) > 0).task == "multilabel"


def test_one_hot_rows_are_classes_unless_the_task_says_otherwise():
    rows = np.eye(3)[[2, 0, 1, 1]]
    assert type_of_target(rows) == "multilabel-indicator"  # scikit-learn cannot tell them apart
    assert read_targets(rows).values.tolist() == [2, 0, 1, 1]
    assert read_targets(rows, task="multilabel").values.tolist() == rows.astype(bool).tolist()
    assert read_targets([[0, 1], None, [1, 0]]).values.tolist() == [1, -1, 0]


@pytest.mark.parametrize(
    "values",
    [
        [2, 0, None, 1],
        [2.0, 0.0, float("nan"), 1.0],
        [2, 0, -100, 1],
        [2, 0, -1, 1],
        np.array([2, 0, -100, 1], np.int8),
        np.array([2, 0, np.nan, 1], np.float16),
        np.ma.array([2, 0, 7, 1], mask=[0, 0, 1, 0]),
        torch.tensor([2, 0, -100, 1]),
        torch.tensor([2, 0, torch.nan, 1], dtype=torch.bfloat16, requires_grad=True),
        [torch.tensor(2), torch.tensor(0), None, torch.tensor(1)],
        pd.Series([2, 0, None, 1], dtype="Int64"),
        pd.Series([2, 0, None, 1], index=[9, 8, 7, 6]),
        pd.DataFrame({"y": [2, 0, None, 1]}),
        ["2", "0", None, "1"],
        (value for value in (2, 0, None, 1)),
        np.array([[2], [0], [-1], [1]]),
    ],
    ids=lambda values: type(values).__name__,
)
def test_targets_of_any_library_have_the_same_codes(values):
    targets = read_targets(values, n=4)
    assert targets.task == "classification"
    assert targets.values.tolist() == [2, 0, -1, 1]
    assert targets.class_names == ("0", "1", "2")


def test_polars_series_are_read_and_an_enum_has_the_order_of_its_categories():
    pl = pytest.importorskip("polars")
    assert read_targets(pl.Series([2, 0, None, 1])).values.tolist() == [2, 0, -1, 1]
    assert read_targets(pl.Series([0.5, None])).task == "regression"
    series = pl.Series(["low", "high", None], dtype=pl.Enum(["low", "middle", "high"]))
    targets = read_targets(series)
    assert targets.class_names == ("low", "middle", "high")
    assert targets.values.tolist() == [0, 2, -1]
    assert not targets.notice


def test_text_is_in_sorted_order_and_the_notice_says_so():
    labels = ["dog", "ant", "cat", "ant"]
    targets = read_targets(labels)
    encoder = LabelEncoder().fit(labels)
    assert targets.values.tolist() == encoder.transform(labels).tolist()
    assert targets.class_names == tuple(encoder.classes_)
    assert "sorted order (ant, cat, dog)" in targets.notice
    assert "class_names=" in targets.notice


@pytest.mark.parametrize("dtype", ["U3", "S3", object, np.dtypes.StringDType()], ids=str)
def test_text_of_any_type_with_names_is_their_index(dtype):
    targets = read_targets(np.array(["dog", "ant", "dog"], dtype=dtype), class_names=["cat", "dog", "ant"])
    assert targets.values.tolist() == [1, 2, 1]
    assert targets.class_names == ("cat", "dog", "ant")
    assert not targets.notice


def test_text_of_numbers_sorts_by_the_number():
    assert read_targets(["10", "9", "2"]).class_names == ("2", "9", "10")
    assert not read_targets([*"0123456789"]).notice


def test_categories_have_their_own_order_and_those_that_do_not_occur_count():
    sizes = pd.Categorical(["small", "large", None], categories=["small", "middle", "large"])
    for values in (sizes, pd.Series(sizes)):
        targets = read_targets(values)
        assert targets.values.tolist() == [0, 2, -1]
        assert targets.class_names == ("small", "middle", "large")
        assert not targets.notice
    assert read_targets(pd.Categorical([7, 3, 7])).values.tolist() == [1, 0, 1]
    assert read_targets(sizes, class_names=["s", "m", "l"]).class_names == ("s", "m", "l")
    assert read_targets(sizes, class_names=["large", "middle", "small"]).values.tolist() == [2, 0, -1]


def test_enum_members_are_classes_in_the_order_of_their_definition():
    targets = read_targets([Animal.ANT, Animal.ZEBRA, None])
    assert targets.class_names == ("ZEBRA", "ANT")
    assert targets.values.tolist() == [1, 0, -1]
    assert read_targets([Side.RIGHT, Side.LEFT]).values.tolist() == [1, 0]


def test_bools_are_false_then_true():
    for values in ([True, False, None], np.ma.array([True, False, True], mask=[0, 0, 1])):
        targets = read_targets(values)
        assert targets.values.tolist() == [1, 0, -1]
        assert targets.class_names == ("False", "True")
    assert read_targets([True, False], class_names=["ham", "spam"]).class_names == ("ham", "spam")


def test_a_number_is_the_output_itself_and_missing_zero_is_noticed():
    targets = read_targets([3, 1, 2])
    assert targets.values.tolist() == [3, 1, 2]
    assert targets.class_names == ("0", "1", "2", "3")
    assert "labels go from 1 to 3, without 0" in targets.notice
    assert "targets - 1" in targets.notice
    assert not read_targets([3, 1, 2], class_names=[*"abcd"]).notice
    assert not read_targets([3, 0, 2]).notice


def test_names_of_numbers_may_be_a_mapping_in_either_direction():
    for names in ({0: "cat", 1: "dog"}, {"dog": 1, "cat": 0}, {"1": "dog", "0": "cat"}, np.array(["cat", "dog"])):
        assert read_targets([1, 0], class_names=names).class_names == ("cat", "dog")


def test_minus_one_is_no_label_unless_it_is_one_of_two_or_other_negatives_are_there():
    semi = read_targets([-1, 0, 1, -1])
    assert semi.values.tolist() == [-1, 0, 1, -1]
    assert "2 targets are -1, read as 'no label'" in semi.notice
    margin = read_targets([-1, 1, 1, -100])
    assert margin.values.tolist() == [0, 1, 1, -1]
    assert margin.class_names == ("-1", "1")
    assert read_targets([-1, 1], class_names=["no", "yes"]).class_names == ("no", "yes")
    assert read_targets([-1, 1], class_names=["a", "b", "c"]).values.tolist() == [-1, 1]
    scores = read_targets([-2, -1, 0, 3])
    assert scores.values.tolist() == [0, 1, 2, 3]
    assert scores.class_names == ("-2", "-1", "0", "3")
    assert "sorted numbers" in scores.notice


@pytest.mark.parametrize(
    "values",
    [[7, 20_000, 7], np.array([3, 2**64 - 1], np.uint64), [5, 2**70], [1e20, 0.0]],
    ids=["identifiers", "uint64", "hashes", "huge floats"],
)
def test_numbers_that_are_no_outputs_are_classes_in_sorted_order(values):
    targets = read_targets(values)
    assert targets.values.tolist() == np.unique(np.array(values, object), return_inverse=True)[1].tolist()
    assert len(targets.class_names) == 2
    assert "sorted" in targets.notice


def test_many_different_whole_numbers_are_classes_with_a_notice():
    rng = random.Random(0)
    prices = [rng.randrange(0, 9_000) for _ in range(200)]
    assert type_of_target(prices) == "multiclass"
    assert "task='regression'" in read_targets(prices).notice
    assert "task='regression'" not in read_targets([0, 1, 2] * 70).notice
    as_values = read_targets(prices, task="regression")
    assert as_values.values.dtype == np.float64
    assert as_values.values.tolist() == prices
    assert not as_values.notice


def test_in_a_regression_only_none_and_nan_are_unknown():
    targets = read_targets([-100, -1, None, np.nan, 3], task="regression")
    assert np.array_equal(targets.values, [-100, -1, np.nan, np.nan, 3], equal_nan=True)
    assert targets.class_names == ()
    assert read_targets([decimal.Decimal("0.5"), 2, np.float32(1)]).values.tolist() == [0.5, 2, 1]
    assert read_targets([True, False], task="regression").values.tolist() == [1, 0]


@pytest.mark.parametrize(
    "values",
    [[["cat", "dog"], [], ["cat"]], [{"cat", "dog"}, set(), {"cat"}], [("dog", "cat"), (), ("cat",)]],
    ids=["lists", "sets", "tuples"],
)
def test_lists_of_labels_become_bools_as_scikit_learns_binarizer_makes_them(values):
    targets = read_targets(values)
    binarizer = MultiLabelBinarizer()
    assert targets.task == "multilabel"
    assert np.array_equal(targets.values, binarizer.fit_transform(values).astype(bool))
    assert targets.class_names == tuple(binarizer.classes_)
    assert "sorted order" in targets.notice
    named = read_targets(values, class_names=["dog", "bird", "cat"])
    assert named.values.tolist() == [[True, False, True], [False] * 3, [False, False, True]]
    assert not named.notice


def test_lists_of_numbers_are_indices_of_labels():
    targets = read_targets([[0, 2], [], [1]])
    assert targets.values.tolist() == [[True, False, True], [False] * 3, [False, True, False]]
    assert targets.class_names == ("0", "1", "2")
    assert read_targets([{0, 1}, {1, 2}]).values.shape == (2, 3)


def test_lists_with_one_label_each_are_classes():
    assert type_of_target([["b"], ["a"]]) == "binary"
    assert read_targets([["b"], ["a"], None]).values.tolist() == [1, 0, -1]
    assert read_targets([["b"], ["a"]], task="multilabel").task == "multilabel"
    assert read_targets([{"b"}, {"a"}]).task == "multilabel"


def test_columns_of_a_table_are_labels_with_their_names():
    frame = pd.DataFrame({"red": [1, 0, 1], "round": [1, 1, 0]})
    targets = read_targets(frame)
    assert targets.class_names == ("red", "round")
    assert targets.values.tolist() == [[True, True], [False, True], [True, False]]
    assert np.array_equal(read_targets(scipy.sparse.csr_array(frame)).values, targets.values)
    assert np.array_equal(read_targets(torch.tensor(frame.to_numpy()).to_sparse()).values, targets.values)


@pytest.mark.parametrize(
    ("values", "options", "message"),
    [
        ([], {}, "there are none"),
        (None, {}, "None is not one value a sample"),
        ("kind", {}, "'kind' is not one value a sample"),
        (7, {}, "7 is not one value a sample"),
        (np.float32(7), {}, "7.0"),
        (object(), {}, "object is not one value a sample"),
        ({"a": 1}, {}, "dict of length 1 is not one value a sample"),
        ([{"boxes": []}] * 3, {}, "one of them is a dict of length 1"),
        ([object()] * 3, {}, "one of them is a object"),
        ([1, "a"], {}, r"int and text among the same values.*str\(value\)"),
        ([1j, 2], {}, "one of them is a complex"),
        (np.zeros(3, complex), {}, r"array \(3,\) of complex128"),
        (np.zeros((3, 2, 2)), {}, r"an array \(3, 2, 2\), not one target a sample.*targets=None"),
        ([np.zeros((4, 4)), np.zeros((5, 4))], {}, "masks or boxes, leave targets out"),
        ([np.nan, None], {}, "no sample has one"),
        ([-100, -1, -100], {}, "no sample has one"),
        ([0.2, np.inf], {}, r"1 are infinite \(rows 1\)"),
        ([[0.2, 0.8], [0.5, 0.5]], {}, r"targets.argmax\(1\)"),
        (np.array(["2020-01-01"], "M8[D]"), {}, "dates are neither classes nor values"),
        (np.array([["a", "b"]]), {}, r"text of shape \(1, 2\)"),
        (torch.zeros(3, device="meta"), {}, "cannot be read"),
        ((1 / i for i in (1, 0)), {}, "cannot be read .division by zero"),
        ([[], []], {}, "all are empty"),
        ([["a"], [1, 2]], {}, "got int, str"),
        ([[0, -1], [1]], {}, "labels from -1 to 1"),
        ([[0, 1], None, [1, 1]], {}, r"1 samples have no list of labels \(rows 1\)"),
        ([0, 1], {"n": 3}, "2 of them for 3 samples"),
        ([0, 1], {"task": "classes"}, "task='classes': it is one of classification, regression, multilabel"),
        (["a"], {"task": "regression"}, r"one number a sample, got text \(1,\)"),
        (np.zeros((3, 2)), {"task": "regression"}, r"one number a sample, got float \(3, 2\)"),
        ([0.5, 1], {"task": "classification"}, "whole numbers or text"),
        ([[1, 1]], {"task": "classification"}, "exactly one 1"),
        ([["a", "b"], ["c"]], {"task": "classification"}, "exactly one 1"),
        ([0, 1], {"task": "multilabel"}, r"rows \(n, n_labels\) of 0 and 1"),
        ([[0, 2], [1, 2]], {"task": "multilabel"}, r"\[set\(row\) for row in targets\]"),
        ([0, 2], {"class_names": ["a", "b"]}, "labels from 0 to 2, but 2 class names"),
        ([1, 2], {"class_names": ["a", "b"]}, "or targets - 1"),
        ([-3, 1], {"class_names": ["a", "b"]}, "labels from -3 to 1"),
        (["cat", "do"], {"class_names": ["cat", "dog"]}, "'do' is none of the 2 class names; near it: 'dog'"),
        (["cat"], {"class_names": ["cat", "cat"]}, "'cat' occurs twice"),
        (np.eye(3), {"class_names": ["a"]}, "3 columns, but 1 class names"),
        ([0, 1], {"class_names": "ab"}, "class_names='ab'"),
        ([0, 1], {"class_names": 2}, "class_names=2"),
        ([0, 1], {"class_names": np.array(2)}, r"class_names=array \(\) of int64"),
        ([0, 1], {"task": np.zeros(2)}, r"task=array \(2,\) of float64"),
        ([[[1]], [[0]]], {"task": "classification"}, "exactly one 1"),
        ([0, 1], {"class_names": {"a": 5}}, "class_names=dict of length 1"),
    ],
)
def test_what_cannot_be_taken_is_named_with_what_would_mend_it(values, options, message):
    with pytest.raises(DataError, match=f"(?s){message}"):
        read_targets(values, **options)


def test_the_callers_values_stay_as_they_are():
    array, tensor, frame = np.array([1.0, np.nan]), torch.tensor([1, -1]), pd.Series(["a", None])
    copies = array.copy(), tensor.clone(), frame.copy()
    for values in (array, tensor, frame):
        read_targets(values).values[:] = 5
    assert np.array_equal(array, copies[0], equal_nan=True)
    assert torch.equal(tensor, copies[1])
    assert frame.equals(copies[2])
    numbers, bools = np.array([0.5, 1.5]), np.array([[True, True], [False, True]])
    read_targets(numbers).values[:] = 5
    read_targets(bools).values[:] = False
    assert numbers.tolist() == [0.5, 1.5]
    assert bools.sum() == 3


def test_empty_text_is_no_label_unless_it_is_a_class_by_name():
    found = read_targets(["dog", "", "cat", ""])
    assert found.values.tolist() == [1, -1, 0, -1]
    assert found.class_names == ("cat", "dog")
    assert "2 of the targets are empty text, read as 'no label'" in found.notice
    assert read_targets(["dog", ""], class_names=["", "dog"]).values.tolist() == [1, 0]
    with pytest.raises(DataError, match="no sample has one, all are empty or None"):
        read_targets(["", None])
