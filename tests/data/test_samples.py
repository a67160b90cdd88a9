"""`Samples`: what is known of them before and after a pass, parts, overrides, and how they print."""

import numpy as np
import pytest
import torch
from torch.utils.data import DataLoader, Dataset, IterableDataset, TensorDataset

from torchviz_layers import Samples, load_dataset
from torchviz_layers.exceptions import DataError

RNG = np.random.default_rng(0)
IMAGES = RNG.random((10, 1, 6, 6), np.float32)
LABELS = np.arange(10) % 3


class Drawn(Dataset):
    """Every look at a sample is another draw; counts them."""

    looks = 0

    def __len__(self):
        return 10

    def __getitem__(self, row):
        self.looks += 1
        return torch.full((3, 8, 8), row / 10) + torch.rand(1) / 20, int(LABELS[row])


class Stream(IterableDataset):
    def __iter__(self):
        return iter([(IMAGES[row], int(LABELS[row])) for row in range(10)])


def test_arrays_tell_everything_without_a_pass(monkeypatch):
    samples = Samples.of((IMAGES, LABELS), columns={"age": range(10)})
    monkeypatch.setattr(type(samples._passes), "batches", None)
    assert (len(samples), samples.view, samples.task) == (10, "image", "classification")
    assert samples.targets.dtype == np.int64
    assert samples.targets.tolist() == LABELS.tolist()
    assert samples.ids.tolist() == list(range(10))
    assert samples.columns["age"].tolist() == list(range(10))
    np.testing.assert_array_equal(samples.shown.images, IMAGES)


def test_a_dataset_is_read_once_for_what_is_asked_after_a_pass():
    data = Drawn()
    samples = Samples.of(data)
    for _ in samples.batches(4):
        pass
    assert data.looks == 10
    asked = (
        samples.view,
        samples.task,
        samples.targets,
        samples.ids,
        samples.columns,
        samples.shown,
        samples.class_names,
    )
    assert data.looks == 10
    assert asked[:2] == ("image", "classification")


def test_what_is_shown_is_the_draw_that_was_fed():
    samples = Samples.of(Drawn())
    for _ in range(2):
        fed = torch.cat([inputs for inputs, _, _ in samples.batches(4)])
        np.testing.assert_array_equal(samples.shown.images, (fed * 255).round().to(torch.uint8))


def test_a_pass_that_is_cut_short_records_nothing():
    data = Drawn()
    samples = Samples.of(data)
    for _ in samples.batches(4):
        break
    assert data.looks == 4
    assert samples.shown.images.shape == (10, 3, 8, 8)  # read in a pass of its own
    before = samples.shown.images.copy()
    next(iter(samples.batches(4)))
    np.testing.assert_array_equal(samples.shown.images, before)


def test_the_length_of_a_stream_is_known_after_a_pass():
    samples = Samples.of(Stream())
    assert samples.n_known is None
    assert repr(samples) == "<samples: ? samples>"
    assert len(samples) == samples.n_known == 10
    assert repr(samples) == "<samples: 10 samples, classification>"


def test_batches_cover_all_samples_in_order_with_the_transform_applied():
    images = np.linspace(0, 1, 7, dtype=np.float32).reshape(7, 1, 1, 1)
    batches = list(Samples.of(images).batches(3, transform=lambda x: x.flatten(1) * 2))
    assert [tuple(x.shape) for x, _, _ in batches] == [(3, 1), (3, 1), (1, 1)]
    assert torch.equal(torch.cat([x for x, _, _ in batches]).flatten(), torch.from_numpy(images).flatten() * 2)
    assert np.concatenate([ids for _, _, ids in batches]).tolist() == list(range(7))


@pytest.mark.parametrize("make", [lambda: (IMAGES, LABELS), Drawn, Stream, lambda: DataLoader(Drawn(), 4)])
@pytest.mark.parametrize("read_before", [False, True])
def test_a_part_keeps_ids_targets_and_class_names(make, read_before):
    samples = Samples.of(make(), class_names=("a", "b", "c"))
    if read_before:
        assert samples.task == "classification"
    part = samples[np.array([1, 4, 7])]  # all of class 1
    fed = [inputs for inputs, _, _ in part.batches(2)]
    assert sum(map(len, fed)) == len(part) == 3
    assert part.targets.tolist() == [1, 1, 1]
    assert part.class_names == ("a", "b", "c")
    assert part.shown.images.shape[0] == 3
    if read_before:
        assert part.ids.tolist() == [1, 4, 7]


@pytest.mark.parametrize("make", [lambda: (IMAGES, LABELS), Drawn, Stream, lambda: DataLoader(Drawn(), 4)])
@pytest.mark.parametrize(("limit", "n"), [(3, 3), (6, 6), (99, 10)])
def test_a_limit_takes_the_first_samples(make, limit, n):
    samples = Samples.of(make(), limit=limit)
    assert sum(len(inputs) for inputs, _, _ in samples.batches(4)) == len(samples) == n
    assert samples.targets.tolist() == LABELS[:n].tolist()


def test_a_limit_of_a_stream_takes_as_many_of_the_targets_given():
    assert Samples.of(Stream(), targets=LABELS[::-1], limit=4).targets.tolist() == LABELS[::-1][:4].tolist()


def test_samples_of_samples_are_the_same_but_for_what_is_asked():
    samples = Samples.of((IMAGES, LABELS))
    assert Samples.of(samples) is samples
    other = Samples.of(samples, targets=list("abcdefghij"), name="letters", limit=5)
    assert (other.name, len(other), other.class_names) == ("letters", 5, tuple("abcdefghij"))
    assert samples.targets.tolist() == LABELS.tolist()
    with pytest.raises(DataError, match="belong to the first"):
        Samples.of(samples, transform=abs)


def test_no_array_of_the_caller_is_changed_by_a_network_that_writes_to_its_input():
    images = IMAGES.copy()
    for given in (
        images,
        torch.from_numpy(images),
        {"x": images, "more": images},
        list(images),
        TensorDataset(torch.from_numpy(images)),
    ):
        for inputs, _, _ in Samples.of(given).batches(4):
            for tensor in inputs.values() if isinstance(inputs, dict) else [inputs]:
                tensor.zero_()
    np.testing.assert_array_equal(images, IMAGES)


def test_only_pictures_in_unit_range_are_said_to_be_such():
    assert Samples.of(IMAGES).unit_pictures
    assert Samples.of(Drawn()).unit_pictures
    assert Samples.of((IMAGES * 255).astype(np.uint8)).unit_pictures
    assert not Samples.of(IMAGES * 2).unit_pictures
    assert not Samples.of(TensorDataset(torch.from_numpy(IMAGES) - 0.5)).unit_pictures
    assert not Samples.of(IMAGES.reshape(10, 36)).unit_pictures


def test_one_row_by_its_number_is_refused_with_the_way_to_get_it():
    with pytest.raises(DataError, match=r"samples\[0\]: give a slice"):
        load_dataset("digits", limit=3)[0]
    with pytest.raises(DataError, match="of 3 samples"):
        load_dataset("digits", limit=3)[[5]]
    with pytest.raises(DataError, match="none of the 3 samples"):
        load_dataset("digits", limit=3)[3:]


def test_samples_print_as_one_line():
    assert repr(load_dataset("digits", limit=30)) == "<digits: 30 samples, classification>"


def test_transform_that_fails_says_on_what():
    def fails(_images):
        raise ValueError("no colours")

    with pytest.raises(DataError, match=r"transform fails on Tensor\(3, 1, 28, 28\): no colours"):
        next(load_dataset("digits", limit=3).batches(3, fails))
    for size in (0, -1, 2.5, "many", True):
        with pytest.raises(DataError, match="batch_size="):
            load_dataset("digits", limit=3).batches(size)
