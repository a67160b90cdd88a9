"""The three networks of the notebook's author, by hand in plain PyTorch: what conversion is measured against."""

from __future__ import annotations

from collections import OrderedDict

import torch
from torch import Tensor, nn


def dense128() -> nn.Sequential:
    """Return MNIST_dense128 on images (n, 28, 28)."""
    return nn.Sequential(
        OrderedDict(
            flat=nn.Flatten(),
            dense_0=nn.Linear(784, 128),
            act_0=nn.ReLU(),
            dense_1=nn.Linear(128, 10),
            answer=nn.Softmax(dim=1),
        )
    )


def lenet60() -> nn.Sequential:
    """Return MNIST_LeNet60 on images (n, 1, 32, 32)."""
    return nn.Sequential(
        OrderedDict(
            conv_0=nn.Conv2d(1, 6, 3),
            act_0=nn.ReLU(),
            pool_0=nn.AvgPool2d(2),
            conv_1=nn.Conv2d(6, 16, 3),
            act_1=nn.ReLU(),
            pool_1=nn.AvgPool2d(2),
            flat=nn.Flatten(),
            dense_0=nn.Linear(576, 60),
            act_2=nn.ReLU(),
            dense_1=nn.Linear(60, 42),
            act_3=nn.ReLU(),
            dense_2=nn.Linear(42, 10),
            answer=nn.Softmax(dim=1),
        )
    )


def cnn5() -> nn.Sequential:
    """Return CIFAR-10_CNN5 on images (n, 3, 32, 32)."""
    return nn.Sequential(
        OrderedDict(
            conv_0=nn.Conv2d(3, 32, 3),
            act_0=nn.ReLU(),
            pool_0=nn.MaxPool2d(2),
            conv_1=nn.Conv2d(32, 64, 3),
            act_1=nn.ReLU(),
            pool_1=nn.MaxPool2d(2),
            conv_2=nn.Conv2d(64, 64, 3),
            act_2=nn.ReLU(),
            flat=nn.Flatten(),
            dense_0=nn.Linear(1024, 64),
            act_3=nn.ReLU(),
            dense_1=nn.Linear(64, 10),
            answer=nn.Softmax(dim=1),
        )
    )


@torch.no_grad()
def copy_weights(source: nn.Module, target: nn.Sequential, channels: int | None = None) -> nn.Sequential:
    """Give `target` the weights of a converted `source`, layer by layer of the same name.

    The first dense layer after convolutions has its columns in Keras's order (height, width, channel) in the source and
    in PyTorch's (channel, height, width) in the target; `channels` says how many channels there are.
    """
    weights = source.state_dict()
    for name, value in target.state_dict().items():
        given = weights[name]
        if channels and name == "dense_0.weight":
            given = _channels_first(given, channels)
        value.copy_(given)
    return target.eval()


def _channels_first(weight: Tensor, channels: int) -> Tensor:
    side = round((weight.shape[1] / channels) ** 0.5)
    return weight.reshape(-1, side, side, channels).permute(0, 3, 1, 2).reshape(len(weight), -1)
