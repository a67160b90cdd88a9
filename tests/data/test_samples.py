"""`Samples`: checks, slices, batches."""

import numpy as np
import pytest
import torch

from torchviz_layers import Samples, load_dataset
from torchviz_layers.exceptions import DataError


@pytest.mark.parametrize(
    ("images", "message"),
    [
        (np.zeros((2, 3, 3), np.float32), "n_samples, channels"),
        (np.full((1, 1, 2, 2), 7, np.float32), "divide 8-bit images by 255"),
        (np.full((1, 1, 2, 2), np.nan, np.float32), "nan"),
        (np.zeros((0, 1, 2, 2), np.float32), "there are none"),
    ],
)
def test_wrong_images_are_refused(images, message):
    with pytest.raises(DataError, match=message):
        Samples(images)


def test_targets_must_fit_images_and_class_names():
    images = np.zeros((2, 1, 2, 2), np.float32)
    with pytest.raises(DataError, match="2 images, but targets of shape"):
        Samples(images, np.array([0, 1, 2]))
    with pytest.raises(DataError, match="targets from 0 to 5, but 2 class names"):
        Samples(images, np.array([0, 5]), ("a", "b"))


def test_batches_cover_all_samples_in_order_with_the_transform_applied():
    images = np.linspace(0, 1, 7, dtype=np.float32).reshape(7, 1, 1, 1)
    batches = list(Samples(images, np.arange(7)).batches(3, transform=lambda x: x.flatten(1) * 2))
    assert [tuple(x.shape) for x, _, _ in batches] == [(3, 1), (3, 1), (1, 1)]
    assert torch.equal(torch.cat([x for x, _, _ in batches]).flatten(), torch.from_numpy(images).flatten() * 2)
    assert np.concatenate([ids for _, _, ids in batches]).tolist() == list(range(7))


def test_a_slice_keeps_the_ids_its_samples_had():
    samples = Samples(np.zeros((5, 1, 1, 1), np.float32), np.arange(5))[np.array([4, 1])]
    assert samples.ids.tolist() == samples.targets.tolist() == [4, 1]


def test_lists_become_arrays_and_names_a_tuple():
    samples = Samples(np.zeros((2, 1, 1, 1), np.float32), [1, 0], ["cat", "dog"], ["x", "y"])
    assert samples.targets.dtype == np.int64
    assert samples.class_names == ("cat", "dog")
    assert samples[[1]].ids.tolist() == ["y"]


def test_one_row_by_its_number_is_refused_with_the_way_to_get_it():
    with pytest.raises(DataError, match=r"samples\[0\]: give a slice"):
        load_dataset("digits", limit=3)[0]


def test_samples_print_as_one_line():
    assert repr(load_dataset("digits", limit=30)) == "<digits: 30 images of 1 x 28 x 28, 10 classes>"


def test_transform_that_fails_says_on_what():
    def fails(_images):
        raise ValueError("no colours")

    with pytest.raises(DataError, match=r"transform fails on images of shape \(3, 1, 28, 28\): no colours"):
        next(load_dataset("digits", limit=3).batches(3, fails))
    with pytest.raises(DataError, match="batch_size=0"):
        next(load_dataset("digits", limit=3).batches(0))
