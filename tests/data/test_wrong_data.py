"""Whatever is handed over and is no data ends in a `DataError` that says what it is and what would mend it."""

import io
import re
import types
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from scipy import sparse
from torch import nn
from torch.utils.data import ConcatDataset, DataLoader, Dataset, IterableDataset, Subset, TensorDataset

from torchviz_layers import Samples
from torchviz_layers.exceptions import DataError, TorchvizLayersError

N = 10
X = torch.rand(N, 4)
y = torch.arange(N) % 2


class Items(Dataset):
    """A map-style dataset of whatever `make` returns."""

    def __init__(self, make, n=N):
        self.make, self.n = make, n

    def __len__(self):
        return self.n

    def __getitem__(self, row):
        return self.make(row)


class NoLength(Dataset):
    def __getitem__(self, row):
        return X[row]


class Broken(Dataset):
    def __len__(self):
        raise RuntimeError("the file is closed")

    def __getitem__(self, row):
        return X[row]


class Short(Items):
    """Its length promises more than it has."""

    def __getitem__(self, row):
        if row >= 5:
            raise IndexError(row)
        return X[row]


class Stream(IterableDataset):
    def __init__(self, items):
        self.items = items

    def __iter__(self):
        return iter(self.items)


class Falling(IterableDataset):
    def __iter__(self):
        yield X[0]
        raise OSError("the disk is gone")


class Negative(Items):
    def __len__(self):
        return -1


class Hostile:
    def __getattr__(self, name):
        raise RuntimeError(f"no {name}")


def fails(*_args, **_options):
    raise LookupError("no such word")


def loop():
    return 1


WRONG = {
    "None": None,
    "an object": object(),
    "a number": 7,
    "a float": 1.5,
    "a bool": True,
    "a complex number": 1j,
    "a text": "mnist.npz",
    "no text": "",
    "bytes": b"pixels",
    "a bytearray": bytearray(b"pixels"),
    "a memory view": memoryview(b"pixels"),
    "a function": loop,
    "a lambda": lambda: 0,
    "a class": Items,
    "the class of arrays": np.ndarray,
    "a module of Python": types,
    "a network": nn.Linear(4, 2),
    "a list of layers": nn.Sequential(nn.Linear(4, 2)),
    "an open file": io.StringIO("1,2"),
    "an exception": ValueError("no"),
    "a set": {1, 2},
    "a frozenset": frozenset("ab"),
    "an empty set": set(),
    "an empty list": [],
    "an empty tuple": (),
    "an empty dict": {},
    "a dict of datasets": {"train": TensorDataset(X, y), "test": TensorDataset(X, y)},
    "a dict of targets alone": {"label": y},
    "a dict of a number": {"x": 3},
    "a dict of arrays of other lengths": {"a": np.zeros((3, 2)), "b": np.zeros((4, 2))},
    "a dict of objects": {"x": object()},
    "a dict with other targets than samples": {"image": torch.rand(4, 3, 8, 8), "label": y},
    "a range": range(5),
    "an iterator of nothing": iter([]),
    "a generator of None": (None for _ in range(3)),
    "a generator that fails": (1 / n for n in (1, 0)),
    "a list of None": [None, None],
    "a list of objects": [object(), object()],
    "a list of sets": [{1}, {2}],
    "a list of empty lists": [[], []],
    "a list of numbers": [1, 2, 3],
    "a list of a text and a number": ["one", 2],
    "a list of functions": [loop, loop],
    "ragged lists": [[1, 2], [3]],
    "arrays of other shapes": [np.zeros(3), np.zeros(4)],
    "X and y as a list": [np.zeros((4, 3)), np.zeros(4)],
    "a pair of numbers": (1, 2),
    "targets without samples": (None, y),
    "lengths that differ": (X, y[:5]),
    "targets that are a number": (X, 3),
    "targets that are an object": (X, object()),
    "targets of three axes": (X, np.zeros((N, 2, 2))),
    "no target known": (X, np.full(N, np.nan)),
    "a number as an array": np.float32(3),
    "an array without axes": np.array(3.0),
    "a tensor without axes": torch.tensor(3.0),
    "one number a sample": np.zeros(5),
    "a tensor of one number a sample": torch.zeros(5),
    "no rows": np.zeros((0, 3)),
    "no features": np.zeros((3, 0)),
    "no pixels": torch.zeros(2, 3, 0, 8),
    "complex numbers": np.zeros((3, 2), complex),
    "complex tensors": torch.zeros(3, 2, dtype=torch.complex64),
    "an array of objects": np.array([object(), object()]),
    "a matrix of objects": np.array([[object()], [object()]]),
    "a matrix of text": np.array([["a", "b"]]),
    "dates": np.array(["2026-01-01"], "datetime64[D]"),
    "dates in rows": np.array([["2026-01-01"]], "datetime64[D]"),
    "masked values": np.ma.masked_array(np.ones((2, 2)), [[1, 0], [0, 0]]),
    "a sparse tensor": torch.eye(3).to_sparse(),
    "a tensor without values": torch.empty(3, 2, device="meta"),
    "a sparse matrix of SciPy": sparse.eye(4).tocsr(),
    "a dict of tables": {"train": pd.DataFrame({"a": [1.0]})},
    "a series of numbers": pd.Series([1.0, 2.0]),
    "a list of paths": [Path("a.png")],
    "a list of bytes": [b"a", b"b"],
    "an object whose methods fail": Hostile(),
    "a shuffling loader": DataLoader(TensorDataset(X, y), 4, shuffle=True),
    "a random subset": DataLoader(TensorDataset(X, y), 4, sampler=torch.utils.data.SubsetRandomSampler(range(4))),
    "a loader of None": DataLoader(Items(lambda _row: X[0]), collate_fn=lambda _items: None),
    "a loader of objects": DataLoader(Items(lambda _row: X[0]), collate_fn=lambda _items: object()),
    "a loader of nothing": DataLoader(Stream([]), 2),
    "a loader that fails": DataLoader(Items(lambda row: 1 / (row - 3)), 2),
    "a loader that cannot collate": DataLoader(Items(lambda row: X[0, : 1 + row % 3]), 3),
    "a dataset of None": Items(lambda _row: None),
    "a dataset of objects": Items(lambda _row: object()),
    "a dataset of empty tuples": Items(lambda _row: ()),
    "a dataset of pairs of None": Items(lambda _row: (None, 1)),
    "a dataset of dicts without inputs": Items(lambda _row: {"label": 1}),
    "a dataset of complex arrays": Items(lambda _row: np.zeros(3, complex)),
    "a dataset that fails": Items(lambda row: 1 / (row - 7)),
    "a dataset of other shapes": Items(lambda row: torch.zeros(3, 8 + row % 2, 8)),
    "a dataset of other keys": Items(lambda row: {"a": X[0], ("b" if row % 2 else "c"): X[0]}),
    "a dataset of more and fewer parts": Items(lambda row: ([X[0]] * (2 + row % 2), 1)),
    "an empty dataset": Items(lambda _row: X[0], n=0),
    "a dataset without a length": NoLength(),
    "a dataset whose length fails": Broken(),
    "a dataset of negative length": Negative(lambda _row: X[0]),
    "a dataset that is shorter than it says": Short(lambda row: X[row]),
    "a stream of nothing": Stream([]),
    "a stream that fails": Falling(),
    "a stream that is no iterable": Stream(3),
    "a subset beyond the end": Subset(TensorDataset(X, y), [0, 99]),
    "parts of other shapes": ConcatDataset([TensorDataset(X), TensorDataset(X[:, :3])]),
}


def read_all(data, **options):
    samples = Samples.of(data, **options)
    for _ in samples.batches(4):
        pass
    return samples.view, samples.task, samples.targets, samples.shown, samples.columns, samples.ids


@pytest.mark.parametrize("given", WRONG)
def test_what_is_no_data_is_refused_with_what_it_is(given):
    with pytest.raises(TorchvizLayersError) as found:
        read_all(WRONG[given])
    message = str(found.value)
    assert len(message) > 25
    # What was given: a type, a shape, a number of samples or the row at which it failed.
    assert re.search(r"\w+\(|\btype\b|shape|\bof \w+|row|batch|\d|empty|None|dict|array|len", message), message


def test_there_are_at_least_sixty_kinds_of_wrong_data():
    assert len(WRONG) >= 60


OPTIONS = {
    "view by no name": {"view": "picture"},
    "a view that is a number": {"view": 3},
    "an empty view": {"view": []},
    "views of other number": {"view": ["a", "b"]},
    "a view that fails": {"view": fails},
    "a view of nothing": {"view": lambda _sample: None},
    "a view of rows as text": {"view": "text"},
    "a view of rows as pictures": {"view": "image"},
    "an unknown task": {"task": "detection", "targets": y},
    "a transform that fails": {"transform": fails},
    "a transform that is no function": {"transform": 3},
    "a transform of nothing": {"transform": lambda _sample: None},
    "a collate that fails": {"collate": fails},
    "a collate that is no function": {"collate": "stack"},
    "a tokenizer that is no function": {"tokenizer": "bert"},
    "targets by a name": {"targets": "label"},
    "targets of another length": {"targets": [0, 1]},
    "targets that are a number": {"targets": 1},
    "targets that are a set": {"targets": {0, 1}},
    "ids of another length": {"ids": ["a"]},
    "ids of two axes": {"ids": np.zeros((N, 2))},
    "ids that are a number": {"ids": 5},
    "columns of another length": {"columns": {"age": [1]}},
    "columns that are a list": {"columns": [1, 2]},
    "a column that is a number": {"columns": {"age": 3}},
    "a column of matrices": {"columns": {"age": np.zeros((N, 2, 2))}},
    "class names that are a number": {"class_names": 3, "targets": y},
    "too few class names": {"class_names": ["only"], "targets": y},
    "a limit of nothing": {"limit": 0},
    "a limit that is a text": {"limit": "ten"},
    "a limit that is a float": {"limit": 2.5},
    "a name that is no text": {"name": 3},
}
MAY_BE_TAKEN = {"a name that is no text"}


@pytest.mark.parametrize("given", OPTIONS)
@pytest.mark.parametrize(
    "data", [X, TensorDataset(X), DataLoader(TensorDataset(X), 4)], ids=["array", "dataset", "loader"]
)
def test_wrong_options_are_refused_by_name(given, data):
    if given in MAY_BE_TAKEN:
        read_all(data, **OPTIONS[given])
        return
    with pytest.raises(TorchvizLayersError) as found:
        read_all(data, **OPTIONS[given])
    assert len(str(found.value)) > 25


def test_a_failing_item_is_named_by_its_row_and_its_error_kept():
    with pytest.raises(DataError, match="row 7: the dataset raised ZeroDivisionError: ") as found:
        read_all(Items(lambda row: torch.ones(2) * (1 / (row - 7))))
    assert isinstance(found.value.__cause__, ZeroDivisionError)


def test_an_interruption_passes_through():
    def interrupted(_row):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        read_all(Items(interrupted))


def test_shapes_that_differ_are_named_with_their_rows_and_the_way_out():
    with pytest.raises(DataError, match=r"rows 0 and 1 .*\(3, 8, 8\) and \(3, 9, 8\).*transform=.*collate="):
        read_all(Items(lambda row: torch.zeros(3, 8 + row % 2, 8)))


def test_a_pass_of_another_number_of_samples_is_refused():
    class Shrinking(IterableDataset):
        left = 5

        def __iter__(self):
            self.left -= 1
            return iter(X[: self.left])

    samples = Samples.of(Shrinking())
    assert len(samples) == 4
    with pytest.raises(DataError, match="3 samples came in this pass, where 4 were expected"):
        list(samples.batches())
