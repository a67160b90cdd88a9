"""Batches in lists, loaders and iterators: told from single samples, and read no further than they are needed."""

import itertools

import numpy as np
import pytest
import torch
from torch.utils.data import DataLoader, TensorDataset

from torchviz_layers import Samples
from torchviz_layers.data.batch_lists import are_batches
from torchviz_layers.exceptions import DataError

ROWS = torch.arange(60.0).reshape(20, 3)
LABELS = torch.arange(20) % 3
TOKENS = torch.arange(80).reshape(20, 4)


def fed(samples):
    return torch.cat([inputs for inputs, _, _ in samples.batches()])


@pytest.mark.parametrize(
    ("targets", "task"),
    [
        (LABELS, "classification"),
        (ROWS[:, :1] + 0.5, "regression"),
        (torch.stack([LABELS > 0, LABELS < 2], 1).long(), "multilabel"),
        (["ant", "bee", "cat", "bee"] * 5, "classification"),
    ],
    ids=["classes", "values", "label sets", "texts"],
)
@pytest.mark.parametrize("kind", [list, iter], ids=["list", "generator"])
def test_batches_of_any_targets_are_fed_as_they_are(kind, targets, task):
    cuts = [(0, 8), (8, 16), (16, 20)]
    samples = Samples.of(kind([(ROWS[a:b], targets[a:b]) for a, b in cuts]))
    assert torch.equal(fed(samples), ROWS)
    assert samples.task == task


def test_ids_may_follow_the_targets_of_a_batch():
    batches = [(ROWS[a : a + 5], LABELS[a : a + 5], torch.arange(100 + a, 105 + a)) for a in range(0, 20, 5)]
    samples = Samples.of(batches)
    assert torch.equal(fed(samples), ROWS)
    assert samples.ids.tolist() == list(range(100, 120))


@pytest.mark.parametrize(
    "sample",
    [
        (torch.zeros(3, 8, 8), torch.zeros(3, 4)),  # a picture of three channels, with three boxes
        (torch.zeros(8, 8), torch.zeros(8, 8)),  # a picture and its mask
        (torch.zeros(4), torch.tensor(1)),
        (torch.zeros(5, 2), 1),
        (torch.zeros(5, 2), torch.zeros(4)),
        (torch.zeros(5, 2),),
    ],
)
def test_samples_are_no_batches(sample):
    assert not are_batches([sample, sample])


@pytest.mark.parametrize("limit", [1, 7, 8])
def test_an_iterator_without_an_end_is_read_up_to_the_limit(limit):
    read = []

    def endless(make):
        for row in itertools.count():
            read.append(row)
            yield make(row)

    samples = Samples.of(endless(lambda row: (ROWS[row], int(LABELS[row]))), limit=limit)
    assert torch.equal(fed(samples), ROWS[:limit])
    assert len(read) == limit
    batches = Samples.of(endless(lambda _row: (ROWS[:5], LABELS[:5])), limit=limit)
    assert len(batches) == limit


def test_a_wrong_limit_is_refused_before_an_endless_iterator_is_read():
    with pytest.raises(DataError, match="limit: a positive number expected, got 0"):
        Samples.of(itertools.repeat(ROWS[0]), limit=0)


def test_tokens_and_their_mask_are_not_taken_for_inputs_and_targets():
    data = TensorDataset(TOKENS, torch.ones_like(TOKENS), LABELS)
    for given in (data, DataLoader(data, 4)):
        with pytest.raises(DataError, match=r"several inputs of a network.*attention_mask"):
            Samples.of(given).task  # noqa: B018 - read on demand


def test_a_third_tensor_of_whole_numbers_is_the_ids():
    data = TensorDataset(ROWS, LABELS, torch.arange(100, 120))
    assert Samples.of(data).ids.tolist() == Samples.of(DataLoader(data, 6)).ids.tolist() == list(range(100, 120))


@pytest.mark.parametrize("batch_size", [3, 4])  # three pictures of three channels could be three arguments
def test_pictures_beside_their_boxes_are_one_list(batch_size):
    items = [(torch.rand(3, 10 + row % 3, 12), {"boxes": torch.zeros(row, 4)}) for row in range(12)]
    loader = DataLoader(items, batch_size, collate_fn=lambda batch: tuple(zip(*batch, strict=True)))
    samples = Samples.of(loader)
    got = [picture for pictures, _, _ in samples.batches() for picture in pictures]
    assert all(torch.equal(a, b) for a, (b, _) in zip(got, items, strict=True))
    assert all(type(pictures) is list for pictures, _, _ in samples.batches())
    assert samples.view == "image"
    assert [image.shape for image in samples.shown.images] == [picture.shape for picture, _ in items]


def test_a_loader_that_yields_single_samples_is_refused_with_the_way_out():
    with pytest.raises(DataError, match=r"batch 0: .*a single sample.*loader\.dataset"):
        Samples.of(DataLoader(TensorDataset(ROWS, LABELS), batch_size=None)).task  # noqa: B018 - read on demand


def test_lists_of_numbers_of_different_lengths_are_named_by_their_row():
    with pytest.raises(DataError, match=r"row 1: its lists of numbers differ in length"):
        Samples.of([[[1.0, 2.0], [3.0, 4.0]], [[1.0], [2.0, 3.0]]]).view  # noqa: B018 - read on demand


def test_enum_members_of_a_dataset_are_classes():
    import enum

    kind = enum.Enum("Kind", ["ZEBRA", "ANT"])
    samples = Samples.of([(row, list(kind)[place % 2]) for place, row in enumerate(ROWS)])
    assert samples.class_names == ("ZEBRA", "ANT")
    assert samples.targets.tolist() == [0, 1] * 10
    assert samples.notice == ""


def test_a_sparse_matrix_of_labels_is_read_as_a_dense_one():
    sparse = pytest.importorskip("scipy.sparse")
    dense = np.eye(4, dtype=int)[np.arange(20) % 4] | np.eye(4, dtype=int)[(np.arange(20) + 1) % 4]
    samples = Samples.of((ROWS, sparse.csr_matrix(dense)))
    assert samples.task == "multilabel"
    assert samples.targets.tolist() == dense.astype(bool).tolist()
