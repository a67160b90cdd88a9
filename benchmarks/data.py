"""The samples that benchmarks run on."""

from __future__ import annotations

import argparse
import os
from pathlib import Path

from torchviz_layers import Samples, load_dataset


def data_spec(options: argparse.Namespace) -> str:
    """Return `--data`, or MNIST where it is on disk, or the digits that scikit-learn brings."""
    if options.data:
        return str(options.data)
    folder = os.environ.get("TORCHVIZ_LAYERS_DATA")
    return "mnist" if folder and (Path(folder) / "mnist").is_dir() else "digits"


def samples_of(options: argparse.Namespace, limit: int) -> Samples:
    """Return up to `limit` samples, or `--max-n` if that is less; `SPEC:train` takes the training split."""
    limit = min(limit, options.max_n or limit)
    name, _, split = data_spec(options).partition(":")
    return load_dataset(name, split=split or "test", limit=limit)
