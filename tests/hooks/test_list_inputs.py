"""A list of tensors: the one argument of a model, or its arguments, as the signature of its forward says."""

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader

from tests.rounding import whole_numbers, whole_samples
from torchviz_layers import capture, extract, list_layers
from torchviz_layers.exceptions import DataError


class Detector(nn.Module):
    """Takes a list of pictures, as torchvision's detectors do."""

    def __init__(self):
        super().__init__()
        self.conv, self.head = nn.Conv2d(3, 2, 3), nn.Linear(2, 4)

    def forward(self, images, targets=None):  # noqa: ARG002 as torchvision's
        if not isinstance(images, list):
            raise TypeError("a list of pictures expected")
        return self.head(self.conv(torch.stack(images)).mean((2, 3)))


class Annotated(Detector):
    def forward(self, images: list[Tensor], targets: list[dict] | None = None):
        return super().forward(images, targets)


class Only(Detector):
    def forward(self, images):
        return super().forward(images)


class Two(nn.Module):
    def __init__(self):
        super().__init__()
        self.linear = nn.Linear(3, 2)

    def forward(self, x, y=None):
        return self.linear(x if y is None else x + y)


@pytest.fixture
def pictures():
    return list(whole_samples(7, 3, 6, 6))


def parts(pictures, size=3):
    return [pictures[start : start + size] for start in range(0, len(pictures), size)]


@pytest.mark.parametrize("kind", [Detector, Annotated, Only])
@pytest.mark.parametrize("form", ["with None", "with targets", "mapping"])
def test_a_list_of_pictures_is_one_argument_and_its_length_the_number_of_samples(pictures, kind, form):
    model = whole_numbers(kind())
    forms = {
        "with None": [(part, None) for part in parts(pictures)],
        "with targets": [(part, list(range(len(part)))) for part in parts(pictures)],
        "mapping": [{"images": part} for part in parts(pictures)],
    }
    acts = extract(model, forms[form])
    x = torch.stack(pictures)
    np.testing.assert_array_equal(acts["conv"], model.conv(x).detach())
    assert acts.predictions.shape == (7, 4)
    assert acts.skipped == {}


@pytest.mark.parametrize("size", [1, 2, 3, 4])
def test_a_batch_may_be_the_list_itself_where_forward_is_annotated(pictures, size):
    acts = extract(whole_numbers(Annotated()), parts(pictures, size))
    assert acts["conv"].shape == (7, 2, 4, 4)


@pytest.mark.parametrize("kind", [Detector, Annotated, Only])
@pytest.mark.parametrize("count", [1, 2, 5])
def test_the_listing_and_the_block_take_a_list(pictures, kind, count):
    model, images = kind(), pictures[:count]
    assert [layer.output_shape for layer in list_layers(model, images)] == [(count, 2, 4, 4), (count, 4)]
    assert [layer.per_sample for layer in list_layers(model, images)] == [True, True]
    with capture(model) as acts:
        model(images)
    assert acts["conv"].shape == (count, 2, 4, 4)


def test_a_list_of_arguments_stays_arguments():
    x, model = whole_samples(6, 3), whole_numbers(Two())
    acts = extract(model, [[[x[:4], x[:4]], [0] * 4], [[x[4:], x[4:]], [1] * 2]])  # as collation makes it of tuples
    np.testing.assert_array_equal(acts["linear"], model.linear(2 * x).detach())
    assert acts.targets.tolist() == [0] * 4 + [1] * 2


def test_a_list_of_sequences_counts_by_its_targets_or_is_an_error():
    class Sequences(nn.Module):
        def __init__(self):
            super().__init__()
            self.linear = nn.Linear(3, 2)

        def forward(self, sequences):
            return self.linear(torch.stack([sequence.sum(0) for sequence in sequences]))

    model, sequences = whole_numbers(Sequences()), list(whole_samples(4, 5, 3))
    assert extract(model, [(sequences, [0, 1, 2, 3])])["linear"].shape == (4, 2)
    with pytest.raises(DataError, match=r"may be 4 samples or 5; targets or ids beside it"):
        extract(model, [(sequences, None)])
    uneven = [sequence[: 2 + k] for k, sequence in enumerate(sequences)]
    assert extract(model, [(uneven, None)])["linear"].shape == (4, 2)


def test_targets_that_are_mappings_are_refused_with_a_way_out(pictures):
    with pytest.raises(DataError, match=r"targets that are mappings.*give \(inputs, None\)"):
        extract(Detector(), [(pictures, [{"boxes": torch.zeros(1, 4)}] * 7)])


def test_a_key_that_forward_does_not_take_is_named_with_the_way_out():
    x, model = whole_samples(6, 3), whole_numbers(Two())
    batch = {"x": x, "length": torch.ones(6), "labels": torch.arange(6)}
    with pytest.raises(DataError, match=r"key 'length': forward of Two takes x, y only; inputs=\[\.\.\.\] chooses"):
        extract(model, [batch])
    with pytest.raises(DataError, match="key 'length': forward of Two takes x, y only"):
        list_layers(model, {"x": x, "length": torch.ones(6)})
    acts = extract(model, [batch], inputs=["x"])
    np.testing.assert_array_equal(acts["linear"], model.linear(x).detach())
    assert acts.targets.tolist() == list(range(6))
    with pytest.raises(DataError, match="inputs: 'z' is none of the batch's keys: x, length, labels"):
        extract(model, [batch], inputs=["x", "z"])


def test_targets_that_the_model_takes_too_are_passed_where_they_are_asked_for():
    x = whole_samples(6, 3)
    acts = extract(whole_numbers(Two()), [{"x": x, "labels": torch.arange(6), "y": x}], inputs=["x", "y"])
    np.testing.assert_array_equal(acts["linear"], whole_numbers(Two()).linear(2 * x).detach())


def test_too_many_arguments_are_named_before_the_first_pass(pictures):
    with pytest.raises(DataError, match=r"forward\(images\) of Only does not take .*too many positional arguments"):
        extract(Only(), [(tuple(pictures), None)])


def test_two_sequences_of_each_sample_are_two_arguments_in_a_short_last_batch_too():
    class Pair(nn.Module):
        def __init__(self):
            super().__init__()
            self.a, self.b = nn.Linear(4, 2), nn.Linear(4, 2)

        def forward(self, x, y=None):
            return self.a(x) if y is None else self.a(x) + self.b(y)

    model, (x, y) = Pair(), torch.rand(2, 11, 6, 4)
    dataset = [((x[i], y[i]), i) for i in range(11)]
    for batch in (8, 5, 4):  # the last one has 3, 1 and 3 samples, as a picture has channels
        acts = extract(model, DataLoader(dataset, batch), progress=False)
        np.testing.assert_allclose(acts["b"], model.b(y).detach(), atol=1e-6)
        assert acts.targets.tolist() == list(range(11))
