"""Converted networks beside the same ones written by hand in PyTorch, and beside Keras itself where it is at hand.

Forward passes over all samples in batches of 256, outputs asserted equal; "convert" is the time from file to module.
Images enter with channels-last strides (an NHWC array seen as NCHW), as they come from Keras's world.
"""

from __future__ import annotations

import argparse
import os
import statistics
import tempfile
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor, nn

from benchmarks import networks
from benchmarks.data import samples_of
from benchmarks.report import Table
from benchmarks.timing import interleave, stopwatch
from benchmarks.workers import Worker
from torchviz_layers import convert_keras

MODELS = Path(__file__).parents[1] / "models"
BATCH = 256


class Network(NamedTuple):
    """A Keras file, the hand-written network for it, and its images in Keras's axes."""

    path: Path
    by_hand: Callable[[], nn.Sequential]
    channels: int | None  # at the step from convolutions to dense layers
    images: np.ndarray


def run(options: argparse.Namespace) -> list[Table]:
    """Measure dense128, LeNet60 and, where its file is on disk, CNN5."""
    return [_table(network, options) for network in _networks(options)]


def _networks(options: argparse.Namespace) -> list[Network]:
    n = 1000 if options.quick else 10_000
    digits = samples_of(options, n).shown.images[:, 0]
    padded = np.pad(digits, ((0, 0), (2, 2), (2, 2)))[..., None]
    found = [
        Network(MODELS / "MNIST_dense128.h5", networks.dense128, None, digits),
        Network(MODELS / "MNIST_LeNet60.h5", networks.lenet60, 16, padded),
    ]
    folder = os.environ.get("TORCHVIZ_LAYERS_DATA")
    for path in Path(folder or os.devnull).glob("keras/corpus/*CIFAR-10_CNN5.h5"):
        images = np.random.default_rng(0).random((n, 32, 32, 3), np.float32)
        found.append(Network(path, networks.cnn5, 64, images))
    return found


def _table(network: Network, options: argparse.Namespace) -> Table:
    seconds, _, converted = stopwatch(lambda: convert_keras(network.path).eval())
    by_hand = networks.copy_weights(converted, network.by_hand(), network.channels)
    images = torch.from_numpy(network.images)
    batches = [_channels_last_view(batch).to(options.device) for batch in images.split(BATCH)]
    models = {"converted": converted.to(options.device), "by hand": by_hand.to(options.device)}
    truth = _forward(by_hand, batches).cpu().numpy()
    repeats = options.repeats or (3 if options.quick else 15)

    def check(name: str, output: Tensor) -> None:
        np.testing.assert_allclose(output.cpu().numpy(), truth, atol=1e-5, err_msg=f"{network.path.name}: {name}")

    passes: dict[str, Callable[[], Any]] = {name: partial(_forward, model, batches) for name, model in models.items()}
    timings = interleave(passes, repeats=repeats, device=options.device, check=check)
    rows = [timings[name].row(name) for name in passes]
    rows[0]["convert_seconds"] = seconds
    rows.append(_keras(network, truth, options, repeats))
    for row in rows:
        if row.get("seconds"):
            row["samples_per_second"] = len(images) / row["seconds"]
            row["over_by_hand"] = row["seconds"] / rows[1]["seconds"]
    title = f"Conversion: {network.path.stem.split('__')[-1]}, forward passes of {len(images):,} images"
    return Table(network.path.stem.split("__")[-1], title, rows)


@torch.inference_mode()
def _forward(model: nn.Module, batches: list[Tensor]) -> Tensor:
    return torch.cat([model(batch) for batch in batches])


def _channels_last_view(batch: Tensor) -> Tensor:
    """See (n, height, width, channels) as (n, channels, height, width) without moving anything."""
    return batch.permute(0, 3, 1, 2) if batch.ndim == 4 else batch


def _keras(network: Network, truth: np.ndarray, options: argparse.Namespace, repeats: int) -> dict[str, Any]:
    if options.tensorflow is None:
        return {"name": "Keras, predict", "note": "needs --tensorflow PYTHON"}
    with tempfile.TemporaryDirectory() as folder:
        given, answer = Path(folder) / "images.npy", Path(folder) / "answer.npy"
        np.save(given, network.images)
        script = Path(__file__).with_name("keras_worker.py")
        worker = Worker([str(options.tensorflow), str(script), str(network.path), str(given), str(answer)])
        times = [worker.ask() for _ in range(repeats + 1)]
        worker.close()
        np.testing.assert_allclose(np.load(answer), truth, atol=1e-5, err_msg=f"{network.path.name}: Keras")
    walls = [one["wall"] for one in times[1:]]
    return {
        "name": "Keras, predict",
        "first_seconds": times[0]["wall"],
        "seconds": statistics.median(walls),
        "cpu_seconds": statistics.median(one["cpu"] for one in times[1:]),
        "convert_seconds": times[0]["load"],
        "repeats": walls,
    }
