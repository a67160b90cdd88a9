"""The samples that benchmarks run on."""

from __future__ import annotations

import argparse
import os
from pathlib import Path

import numpy as np

from torchviz_layers import Samples, load_dataset


def data_spec(options: argparse.Namespace) -> str:
    """Return `--data`, or MNIST where it is on disk, or the digits that scikit-learn brings."""
    if options.data:
        return str(options.data)
    folder = os.environ.get("TORCHVIZ_LAYERS_DATA")
    return "mnist" if folder and (Path(folder) / "mnist").is_dir() else "digits"


def samples_of(options: argparse.Namespace, limit: int) -> Samples:
    """Return up to `limit` samples, or `--max-n`; `SPEC:train` takes the training split, `SPEC:all` both."""
    limit = min(limit, options.max_n or limit)
    name, _, split = data_spec(options).partition(":")
    if split != "all":
        return load_dataset(name, split=split or "test", limit=limit)
    train, test = (load_dataset(name, split=part) for part in ("train", "test"))
    images = np.concatenate([train.shown.images, test.shown.images])[:limit]
    targets = np.concatenate([train.targets, test.targets])[:limit]
    return Samples.of((images, targets), class_names=test.class_names, name=f"{name} train and test")
