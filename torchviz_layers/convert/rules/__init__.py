"""One short rule for each kind of Keras layer; importing this package fills the registry."""

from torchviz_layers.convert.rules import (
    activation,
    attention,
    convolution,
    core,
    merging,
    normalization,
    operations,
    pooling,
    preprocessing,
    recurrent,
    resampling,
    wrappers,
)

__all__ = [
    "activation",
    "attention",
    "convolution",
    "core",
    "merging",
    "normalization",
    "operations",
    "pooling",
    "preprocessing",
    "recurrent",
    "resampling",
    "wrappers",
]
