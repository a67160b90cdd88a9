"""Preprocessing: augmentation, which does nothing outside training, and encodings of categories."""

from __future__ import annotations

import numpy as np

from torchviz_layers.convert.keras_files.records import Layer
from torchviz_layers.convert.layers.core import Identity
from torchviz_layers.convert.layers.encoding import AutoContrast, CategoryEncoding, Discretize, Spectrogram
from torchviz_layers.convert.layers.resampling import Resize
from torchviz_layers.convert.registry import Built, Out, Site, images, keep, refuse, rule
from torchviz_layers.convert.rules.options import fill

_AUGMENTATIONS = (
    "AugMix",
    "ContrastLimitedAdaptiveHistogramEqualization",
    "CutMix",
    "Equalization",
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
    "Solarization",
)


@rule(*_AUGMENTATIONS, order=keep)
def augmentation(layer: Layer, site: Site) -> Built:
    """Random augmentation leaves images as they are outside training."""
    return Built(Identity(layer.kind), site.same)


@rule("RandomCrop", order=images)
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
    boundaries, mode = layer.get("bin_boundaries"), str(layer.get("output_mode", "int"))
    if mode not in ("int", "one_hot", "multi_hot", "count") or boundaries is None or layer.get("sparse", False):
        raise refuse(layer, f"output_mode {mode!r}, sparse output or bins from adapt() are not supported")
    module = Discretize(len(boundaries), mode)
    fill(layer, module, boundaries=np.asarray(boundaries, np.float32))
    return Built(module, Out(None, site.rank if mode == "int" else None))


@rule("AutoContrast", order=keep)
def auto_contrast(layer: Layer, site: Site) -> Built:
    """Stretch every channel over the whole range of values, in training or not."""
    low, high = sorted(float(value) for value in layer.get("value_range", (0, 255)))
    return Built(AutoContrast(low, high, (site.axis(1), site.axis(2))), site.same)


_KERNELS_OF_MODE = {"real": ("real_kernel",), "imag": ("imag_kernel",)}  # other modes need both


def _kernels(layer: Layer) -> tuple[str, ...]:
    return _KERNELS_OF_MODE.get(layer.get("mode", "log"), ("real_kernel", "imag_kernel"))


@rule("STFTSpectrogram", weights=_kernels)
def spectrogram(layer: Layer, site: Site) -> Built:  # noqa: ARG001 - the signature of all rules
    """Convolve every channel with the kernels of a short-time Fourier transform."""
    kernels = {}
    for name in _kernels(layer):
        kernels[name.removesuffix("_kernel")] = layer.weights[name].T  # (frequencies, 1, frame length)
    frequencies, _, length = next(iter(kernels.values())).shape
    expand, last = bool(layer.get("expand_dims", False)), layer.get("data_format") != "channels_first"
    step, same = int(layer.get("frame_step", length // 2)), layer.get("padding") == "same"
    module = Spectrogram(str(layer.get("mode", "log")), length, step, frequencies, same, expand, last)
    fill(layer, module, **kernels)
    return Built(module, Out(None, 4 if expand else 3))
