"""The two files in models/ are as their cards say."""

import hashlib
import re
from pathlib import Path

import pytest
import torch

from torchviz_layers import load_dataset, load_model
from torchviz_layers.hooks import computing_layers

MODELS = Path(__file__).parents[2] / "models"
LAYERS = {
    "MNIST_dense128": ["dense_0", "dense_1"],
    "MNIST_LeNet60": [
        "conv_0",
        "average_pooling2d",
        "conv_1",
        "average_pooling2d_1",
        "dense_0",
        "dense_1",
        "dense_2",
    ],
}
FLOOR = {"MNIST_dense128": 0.978, "MNIST_LeNet60": 0.989}

pytestmark = pytest.mark.parametrize("name", LAYERS)


def card(name, row):
    (value,) = re.findall(
        rf"^\| {row} \| `?([^ `]+)", (MODELS / f"{name}.md").read_text(encoding="utf-8"), re.MULTILINE
    )
    return value


def test_checksum_is_the_cards_and_the_lists(name):
    digest = hashlib.sha256((MODELS / f"{name}.h5").read_bytes()).hexdigest()
    assert card(name, "sha256") == digest
    assert f"{digest}  {name}.h5" in (MODELS / "sha256sums.txt").read_text(encoding="utf-8").splitlines()


def test_layers_are_the_notebooks(name):
    assert computing_layers(load_model(name.lower())) == LAYERS[name]


def test_parameters_are_as_many_as_the_card_says(name):
    count = sum(parameter.numel() for parameter in load_model(name.lower()).parameters())
    assert f"{count:,}" == card(name, "parameters")


@pytest.mark.usefixtures("data_dir")
def test_accuracy_on_the_test_set_is_the_cards(name):
    samples, model = load_dataset("mnist"), load_model(name.lower())
    with torch.no_grad():
        predicted = model(model.transform(torch.from_numpy(samples.shown.images))).argmax(1).numpy()
    accuracy = (predicted == samples.targets).mean()
    assert f"{accuracy:.4f}" == card(name, "test accuracy")
    assert accuracy >= FLOOR[name]
