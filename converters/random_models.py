"""Keras models whose every array is drawn by seed: default initialisation would hide a dropped bias or normalisation.

For the scripts that run in an environment with Keras 3 or TensorFlow 2.15, and for the tests, which draw again.
"""

from __future__ import annotations

import os
import zlib
from collections.abc import Sequence
from typing import Any

import numpy as np


def import_keras() -> Any:
    """Return the Keras of this interpreter, TensorFlow's own where it is 2.x."""
    try:
        import tensorflow

        if tensorflow.__version__ < "2.16":
            return tensorflow.keras
    except ImportError:
        os.environ.setdefault("KERAS_BACKEND", "torch")
    import keras

    return keras


def as_array(value: Any) -> np.ndarray:
    """Return a weight or an output of any Keras as an array."""
    value = value.numpy() if hasattr(value, "numpy") and not hasattr(value, "detach") else value
    return np.array(value.detach() if hasattr(value, "detach") else value)


def drawn(name: str, shape: Sequence[int], gain: float = 1.5, *, depthwise: bool = False) -> np.ndarray:
    """Return the array of a name: scales and variances around 1, kernels that keep the size of activations."""
    rng = np.random.default_rng(zlib.crc32(name.encode()))
    if any(part in name for part in ("gamma", "variance", "scale")):
        return rng.uniform(0.5, 1.5, shape).astype(np.float32)
    if len(shape) < 2:
        return rng.uniform(-0.5, 0.5, shape).astype(np.float32)
    fan_in = int(np.prod(shape[:2] if depthwise or "depthwise" in name else shape[:-1]))
    return rng.standard_normal(shape, np.float32) * np.float32((gain / fan_in) ** 0.5)


def finalize(model: Any) -> None:
    """Let Normalization layers read their arrays: Keras does so where it loads a file, not where the arrays change."""
    for layer in model.layers:
        if hasattr(layer, "finalize_state"):
            layer.finalize_state()
