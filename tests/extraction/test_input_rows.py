"""The inputs as a column beside the layers."""

import numpy as np
import pytest
import torch
from torch import nn

from tests.rounding import whole_samples
from torchviz_layers import Activations, extract
from torchviz_layers.extraction import InputRows, input_column


class Net(nn.Module):
    """Takes anything and outputs a number a sample."""

    def __init__(self):
        super().__init__()
        self.layer = nn.Identity()

    def forward(self, x=None, **kwargs):
        given = next(iter(kwargs.values())) if x is None else x
        return self.layer(given.flatten(1).float().sum(1))


PICTURES = whole_samples(10, 3, 4, 4)
ROWS = PICTURES.flatten(1).numpy()


@pytest.mark.parametrize(
    ("batches", "rows"),
    [
        (PICTURES.split(4), ROWS),
        (PICTURES.bfloat16().split(4), ROWS),
        (PICTURES.double().split(4), ROWS),
        (PICTURES.mul(8).abs().byte().split(4), (PICTURES * 8).abs().byte().flatten(1).numpy()),
        ([((part, torch.ones(len(part))), None) for part in PICTURES.split(4)], ROWS),
        ([{"tokens": torch.ones(len(part), 5).long(), "image": part} for part in PICTURES.split(4)], ROWS),
        ([torch.arange(10.0)], np.arange(10.0)[:, None]),
    ],
    ids=["float32", "bfloat16", "float64", "uint8", "two arguments", "keyword arguments", "one number a sample"],
)
def test_the_inputs_become_rows(batches, rows):
    captured = extract({"inputs": InputRows()}, batches)["inputs"]
    column, why = input_column(captured)
    assert why == ""
    assert column.dtype == np.float32
    np.testing.assert_array_equal(column, rows)
    assert captured.predictions is None


def test_they_come_with_the_layers_of_networks_whatever_is_done_with_these():
    models = {"inputs": InputRows(), "net": Net()}
    captured = extract(
        models, PICTURES.split(4), ["layer"], pool=lambda rows: rows[:, None], autocast=torch.bfloat16, at="input"
    )
    np.testing.assert_array_equal(captured["inputs"]["input"], ROWS)
    assert captured["net"]["layer"].shape == (10, 1)


def test_they_go_to_a_store_like_a_layer(tmp_path):
    models = {"inputs": InputRows(), "net": Net()}
    extract(models, PICTURES.split(4), out=tmp_path / "both")
    stored = Activations.load(tmp_path / "both" / "inputs")
    np.testing.assert_array_equal(stored["input"][:], ROWS)
    again = extract({"inputs": InputRows(), "net": Net()}, PICTURES.split(4), out=tmp_path / "both", resume=True)
    np.testing.assert_array_equal(again["inputs"]["input"][:], ROWS)


class Boxes(nn.Module):
    def forward(self, images: list[torch.Tensor]):
        return torch.stack([image.sum() for image in images])


def test_a_list_is_read_as_the_network_reads_it():
    pictures = [(list(part), None) for part in PICTURES.split(4)]
    captured = extract({"inputs": InputRows(), "net": Boxes()}, pictures)
    np.testing.assert_array_equal(captured["inputs"]["input"], ROWS)


@pytest.mark.parametrize(
    ("batches", "net", "why"),
    [
        ([torch.zeros(2, 3, 64, 64)], Net(), "inputs of 12,288 numbers a sample, more than 4,096"),
        ([{"input_ids": torch.ones(4, 5).long()}], Net(), "the inputs hold no numbers"),
        ([([torch.zeros(3, 4, 4), torch.zeros(3, 5, 4)], None)], Boxes(), "the inputs are of different shapes"),
        ([torch.zeros(2, 3, 4), torch.zeros(2, 3, 5)], Net(), "the inputs are of different shapes"),
    ],
    ids=["large", "tokens", "shapes in a batch", "shapes of batches"],
)
def test_inputs_that_are_no_rows_say_why_and_stop_nothing(batches, net, why, tmp_path):
    for out in (None, tmp_path / "both"):
        captured = extract({"inputs": InputRows(), "net": net}, batches, out=out)
        rows, found = input_column(captured["inputs"])
        assert rows is None
        assert found.startswith(why)
        assert captured["net"].n_samples == captured["inputs"].n_samples > 0


def test_the_width_up_to_which_there_are_rows_can_be_chosen():
    assert list(extract(InputRows(most=48), PICTURES.split(4))) == ["input"]
    assert extract(InputRows(most=47), PICTURES.split(4)).skipped == {
        "input": "inputs of 48 numbers a sample, more than 47"
    }


def test_an_instance_serves_one_extraction_after_another():
    rows = InputRows()
    assert extract(rows, PICTURES.split(4))["input"].shape == (10, 48)
    assert extract(rows, [torch.zeros(3, 5)])["input"].shape == (3, 5)
