"""Names of models that the command line was given without a NAME."""

import pytest
from torch import nn

from torchviz_layers.cli.arguments import shown_name


class LeNet(nn.Module):
    pass


@pytest.mark.parametrize(
    ("name", "spec", "model", "taken", "shown"),
    [
        ("make", "nets:make", LeNet(), (), "LeNet"),
        ("make", "nets:make", LeNet(), ("LeNet",), "LeNet (2)"),
        ("make", "nets:make", nn.Sequential(), (), "make"),  # the class of any network
        ("mine", "nets:make", LeNet(), (), "mine"),
        ("epoch_4", "runs/epoch_4.h5", LeNet(), (), "epoch_4"),
        ("resnet18", "torchvision:resnet18", LeNet(), (), "resnet18"),
    ],
)
def test_a_factory_is_named_after_what_it_makes(name, spec, model, taken, shown):
    assert shown_name(name, spec, model, taken) == shown
