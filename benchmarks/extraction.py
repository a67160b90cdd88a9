"""Capture every leaf call of LeNet60 and resnet18: ours beside plain forward, the floor, peers and the notebook's way.

On the CPU with one thread, so that CPU time is what the work costs. "Right" counts the calls whose first rows equal
those that a cloning hook saw.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from benchmarks import networks, peers
from benchmarks.data import samples_of
from benchmarks.report import Table
from benchmarks.timing import interleave
from torchviz_layers import extract, load_model

BATCH = 256
MANY = 20  # calls
CHECKED = 16  # rows of each call that are compared with the truth


def run(options: argparse.Namespace) -> list[Table]:
    """Measure both networks."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        return [_table(*workload, options) for workload in (_lenet(options), _resnet(options))]
    finally:
        torch.set_num_threads(threads)


Workload = tuple[str, nn.Module, list[Tensor]]


def _lenet(options: argparse.Namespace) -> Workload:
    samples = samples_of(options, 1000 if options.quick else 10_000)
    converted = load_model("mnist_lenet60")
    model = networks.copy_weights(converted, networks.lenet60(), channels=16)
    images = converted.transform(torch.from_numpy(samples.images))
    return f"LeNet60, {len(images):,} images of {samples.name}", model, list(images.split(BATCH))


def _resnet(options: argparse.Namespace) -> Workload:
    import torchvision

    torch.manual_seed(0)
    n = 32 if options.quick else 512
    model = torchvision.models.resnet18(weights=None).eval()
    return f"resnet18, {n} random images of 64 x 64", model, list(torch.randn(n, 3, 64, 64).split(32))


def _table(title: str, model: nn.Module, batches: list[Tensor], options: argparse.Namespace) -> Table:
    device = options.device
    model, batches = model.to(device), [batch.to(device) for batch in batches]
    truth = {name: value[:CHECKED] for name, value in peers.cloned(model, batches[:1]).items()}
    right: dict[str, int | None] = {}

    def check(name: str, captured: Mapping[str, Any]) -> None:
        pooled_or_plain = name in ("plain forward", "ours, pooled")
        right[name] = None if pooled_or_plain else sum(_same(captured.get(call), truth[call]) for call in truth)

    contenders = _contenders(model, batches, device)
    missing = {name: why for name in peers.PEERS if (why := peers.obstacle(name, model, batches[0]))}
    if options.quick and len(truth) > MANY:  # a minute by itself
        missing["one truncated model a layer"] = "not with --quick"
    for name, (_, capture) in peers.PEERS.items():
        if name not in missing:
            contenders[name] = partial(capture, model, batches)
    timings = interleave(contenders, repeats=options.repeats or (2 if options.quick else 5), device=device, check=check)
    plain = timings["plain forward"].row("plain forward")
    rows = []
    for name, timing in timings.items():
        row = timing.row(name)
        row |= {
            "cpu_over_plain": row["cpu_seconds"] / plain["cpu_seconds"],
            "wall_over_plain": row["seconds"] / plain["seconds"],
            "right": None if right[name] is None else f"{right[name]} of {len(truth)}",
        }
        rows.append(row)
    rows += [{"name": name, "note": why} for name, why in missing.items()]
    payload = sum(value[0].nbytes for value in truth.values()) * sum(map(len, batches))
    for row in rows:
        if row.get("peak_mb") is not None:
            row["peak_over_payload"] = row["peak_mb"] * 2**20 / payload
    assert right["ours"] == len(truth), f"ours: {right['ours']} of {len(truth)} calls are right"
    return Table(title.split(",")[0], f"Extraction: {title}, every leaf call, one thread", rows)


def _contenders(model: nn.Module, batches: list[Tensor], device: str) -> dict[str, Callable[[], Mapping[str, Any]]]:
    options: dict[str, Any] = {"device": device, "progress": False, "total": sum(map(len, batches))}
    return {
        "plain forward": lambda: peers.plain_forward(model, batches),
        "preallocated hook (floor)": lambda: peers.preallocated(model, batches),
        "ours": lambda: extract(model, batches, **options),
        "ours, pooled": lambda: extract(model, batches, pool="gap", **options),
    }


def _same(given: Any, truth: Tensor) -> bool:
    if given is None:
        return False
    rows = np.asarray(given[: len(truth)].cpu() if isinstance(given, Tensor) else given[: len(truth)])
    return rows.shape == tuple(truth.shape) and np.allclose(rows, truth.cpu().numpy(), rtol=1e-4, atol=1e-5)
