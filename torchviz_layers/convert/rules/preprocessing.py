"""Preprocessing: augmentation, which rests outside training, and encodings of categories."""

from __future__ import annotations

import numpy as np

from torchviz_layers.convert.layers.core import Identity
from torchviz_layers.convert.layers.encoding import CategoryEncoding, Discretize
from torchviz_layers.convert.layers.resampling import Resize
from torchviz_layers.convert.records import Layer
from torchviz_layers.convert.registry import Built, Out, Site, images, keep, refuse, rule
from torchviz_layers.convert.rules.options import fill

_AUGMENTATIONS = (
    "AugMix",
    "CutMix",
    "MixUp",
    "RandAugment",
    "RandomBrightness",
    "RandomColorDegeneration",
    "RandomColorJitter",
    "RandomContrast",
    "RandomElasticTransform",
    "RandomErasing",
    "RandomFlip",
    "RandomGaussianBlur",
    "RandomGrayscale",
    "RandomHeight",
    "RandomHue",
    "RandomInvert",
    "RandomPerspective",
    "RandomPosterization",
    "RandomRotation",
    "RandomSaturation",
    "RandomSharpness",
    "RandomShear",
    "RandomTranslation",
    "RandomWidth",
    "RandomZoom",
)


@rule(*_AUGMENTATIONS, order=keep)
def augmentation(layer: Layer, site: Site) -> Built:
    """Random augmentation leaves images as they are outside training."""
    return Built(Identity(layer.kind), site.same)


@rule("RandomCrop", order=images(4))
def random_crop(layer: Layer, site: Site) -> Built:
    """Outside training Keras 2 crops to the aspect ratio and resizes; Keras 3 leaves the image."""
    if layer.major >= 3:
        return Built(Identity(layer.kind), Out(site.order, 4))
    return Built(Resize((int(layer.config["height"]), int(layer.config["width"])), crop=True), Out(site.order, 4))


@rule("CategoryEncoding")
def category_encoding(layer: Layer, site: Site) -> Built:  # noqa: ARG001 - the signature of all rules
    """Turn indices into one-hot, multi-hot or counts."""
    mode = str(layer.get("output_mode", "multi_hot"))
    if mode not in ("one_hot", "multi_hot", "count") or layer.get("sparse", False):
        raise refuse(layer, f"output_mode {mode!r} or sparse output is not supported")
    return Built(CategoryEncoding(int(layer.config["num_tokens"]), mode), Out(None, None))


@rule("Discretization")
def discretization(layer: Layer, site: Site) -> Built:
    """Numbers become the index of their bin."""
    boundaries = layer.get("bin_boundaries")
    if layer.get("output_mode", "int") != "int" or boundaries is None:
        raise refuse(layer, "only output_mode 'int' with boundaries in the configuration is supported")
    module = Discretize(len(boundaries))
    fill(layer, module, boundaries=np.asarray(boundaries, np.float32))
    return Built(module, Out(None, site.rank))
