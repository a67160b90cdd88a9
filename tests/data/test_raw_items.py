"""A dataset that normalises is shown by the picture it read, from the one reading of each item."""

import numpy as np
import pytest
import torch
from PIL import Image
from torch.utils.data import ConcatDataset, DataLoader, Dataset, Subset
from torchvision import datasets, transforms

from torchviz_layers import Samples

NORMAL = transforms.Compose([transforms.ToTensor(), transforms.Normalize([0.5] * 3, [0.25] * 3)])
PICTURES = np.random.default_rng(0).integers(0, 256, (7, 12, 10, 3), np.uint8)
SHOWN = PICTURES.transpose(0, 3, 1, 2)


class Folder(Dataset):
    """What torchvision's datasets do, counting how often each file is read."""

    def __init__(self, transform, pictures=PICTURES):
        self.transform, self.pictures = transform, pictures
        self.read = np.zeros(len(pictures), int)

    def __len__(self):
        return len(self.pictures)

    def __getitem__(self, row):
        self.read[row] += 1
        return self.transform(Image.fromarray(self.pictures[row])), row % 2


class Together(Folder):
    """Its transform gets picture and target, as torchvision's `transforms` do."""

    def __init__(self, transform):
        super().__init__(None)
        self.transforms = lambda picture, target: (transform(picture), target)

    def __getitem__(self, row):
        return self.transforms(Image.fromarray(self.pictures[row]), row % 2)


class Wrapper(Dataset):
    def __init__(self, dataset):
        self.dataset = dataset

    def __len__(self):
        return len(self.dataset)

    def __getitem__(self, row):
        return self.dataset[row]


@pytest.mark.parametrize(
    ("wrap", "rows"),
    [
        (lambda data: data, range(7)),
        (lambda data: Subset(data, [5, 2]), [5, 2]),
        (lambda data: ConcatDataset([Subset(data, [5, 2]), data]), [5, 2, *range(7)]),
        (Wrapper, range(7)),
        (lambda data: DataLoader(data, 3), range(7)),
        (lambda data: DataLoader(Subset(data, [5, 2]), 3, num_workers=1), [5, 2]),
    ],
    ids=["dataset", "subset", "concatenated", "wrapper", "loader", "workers"],
)
@pytest.mark.parametrize("kind", [Folder, Together])
def test_normalised_pictures_are_shown_as_they_were_read_and_fed_as_they_come(kind, wrap, rows):
    data = kind(NORMAL)
    samples = Samples.of(wrap(data))
    fed = torch.cat([inputs for inputs, _, _ in samples.batches(3)])
    assert torch.equal(fed, torch.stack([NORMAL(Image.fromarray(PICTURES[row])) for row in rows]))
    np.testing.assert_array_equal(samples.shown.images, SHOWN[list(rows)])
    assert samples.view == "image"
    assert not samples.notice
    assert data.transform is None or data.transform is NORMAL  # the caller's dataset is as it was


def test_each_file_is_read_once_in_a_pass():
    data = Folder(NORMAL)
    samples = Samples.of(data)
    for _ in samples.batches(3):
        pass
    # One more look at the first item decides whether the raw one is needed.
    assert data.read.tolist() == [2, 1, 1, 1, 1, 1, 1]


def test_a_random_transform_is_applied_once_to_each_picture():
    class Draw:
        calls = 0

        def __call__(self, picture):
            Draw.calls += 1
            return NORMAL(picture) * (1 + torch.rand(1))

    samples = Samples.of(Folder(Draw()))
    for _ in samples.batches(3):
        pass
    assert Draw.calls == 8


def test_pictures_in_unit_range_are_shown_as_they_are_fed():
    def crop(picture):
        return transforms.functional.to_tensor(picture)[:, 2:6, 3:7]

    np.testing.assert_array_equal(Samples.of(Folder(crop)).shown.images, SHOWN[:, :, 2:6, 3:7])


def test_features_of_pictures_are_shown_by_the_pictures():
    samples = Samples.of(Folder(lambda picture: torch.from_numpy(np.array(picture)).float().mean((0, 1))))
    np.testing.assert_array_equal(samples.shown.images, SHOWN)


def test_without_a_raw_item_pictures_are_stretched_and_the_notice_says_so():
    class Closed(Dataset):
        def __len__(self):
            return 7

        def __getitem__(self, row):
            return NORMAL(Image.fromarray(PICTURES[row])), row % 2

    samples = Samples.of(Closed())
    shown = samples.shown.images
    assert "7 of 7 pictures have values outside [0, 1]" in samples.notice
    fed = torch.cat([inputs for inputs, _, _ in samples.batches()]).flatten(1)
    low, high = fed.amin(1, keepdim=True), fed.amax(1, keepdim=True)
    np.testing.assert_allclose(shown.reshape(7, -1), (fed - low) / (high - low) * 255, atol=0.51)  # rounded


def test_a_view_gets_the_sample_as_it_was_read():
    kinds = []

    def look(sample):
        kinds.append(type(sample).__name__)
        return "seen"

    for data in (
        Folder(NORMAL),
        Folder(transforms.ToTensor()),
        [Image.fromarray(picture) for picture in PICTURES],
        (PICTURES, np.arange(7)),
        [{"x": torch.ones(3), "text": "a"}] * 7,
    ):
        assert Samples.of(data, view=look).shown.texts == ["seen"] * 7
    assert set(kinds) == {"Image", "ndarray", "dict"}


def test_torchvisions_own_datasets_are_shown_by_their_pictures():
    samples = Samples.of(datasets.FakeData(5, (3, 12, 12), 3, transform=NORMAL))
    raw = [np.asarray(picture).transpose(2, 0, 1) for picture, _ in datasets.FakeData(5, (3, 12, 12), 3)]
    np.testing.assert_array_equal(samples.shown.images, np.stack(raw))
