"""Capture every leaf call of LeNet60 and resnet18: ours beside plain forward, the floor, peers and the notebook's way.

Two networks in one pass and a pass over large pictures are in `one_pass.py`.

On the CPU with one thread, so that CPU time is what the work costs, in turns, each contender in a process of its own:
what one has made of the process's memory would help or hinder the next. "Right" counts the calls whose first rows equal
those that a cloning hook saw.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from benchmarks import networks, one_pass, peers
from benchmarks.data import samples_of
from benchmarks.report import Table
from benchmarks.workers import Worker
from torchviz_layers import extract, load_model
from torchviz_layers.extraction.sample_axes import run_probe
from torchviz_layers.hooks.model_state import evaluation_mode
from torchviz_layers.hooks.modules import ModuleTree

PLAIN, FLOOR = "plain forward", "preallocated hook (floor)"
POOLED = "ours, pooled"
AXES = "of ours, the pass over two samples"

Workload = tuple[str, nn.Module, list[Tensor]]
"""What it is, the model, the batches."""


def run(options: argparse.Namespace) -> list[Table]:
    """Measure every workload, two networks in one pass, and the memory that large pictures take."""
    known = [*WORKLOADS, *one_pass.TABLES]
    chosen = options.only or [name for name in known if not (options.quick and name == SMALL)]
    if unknown := set(chosen) - set(known):
        raise SystemExit(f"--only {', '.join(sorted(unknown))}: there are {', '.join(known)}")
    tables = {name: partial(_table, name) for name in WORKLOADS} | one_pass.TABLES
    return [tables[name](options) for name in chosen]


def lenet(options: argparse.Namespace, size: int) -> Workload:
    """Return LeNet60 and digits in batches of `size`."""
    samples = samples_of(options, 1000 if options.quick else 10_000)
    converted = load_model("mnist_lenet60")
    model = networks.copy_weights(converted, networks.lenet60(), channels=16)
    images: Tensor = converted.transform(torch.from_numpy(samples.shown.images))
    batches = [images[start : start + size] for start in range(0, len(images), size)]
    return f"LeNet60, {len(images):,} images of {samples.name} in batches of {size:,}", model, batches


def resnet(options: argparse.Namespace) -> Workload:
    """Return resnet18 with random weights and random images."""
    import torchvision

    torch.manual_seed(0)
    n = 32 if options.quick else 512
    batches = [torch.randn(32, 3, 64, 64) for _ in range(n // 32)]
    return f"resnet18, {n} random images of 64 x 64 in batches of 32", torchvision.models.resnet18().eval(), batches


SMALL = "LeNet60 by 256"
WORKLOADS: dict[str, Callable[[argparse.Namespace], Workload]] = {
    "LeNet60": partial(lenet, size=1000),  # as PyTorch's MNIST example tests
    SMALL: partial(lenet, size=256),
    "resnet18": resnet,
}


def ours(model: nn.Module, batches: list[Tensor], **options: Any) -> Mapping[str, Any]:
    """Extract every leaf call."""
    total = sum(map(len, batches))
    return extract(model, batches, device=batches[0].device, progress=False, total=total, **options)


def sample_axes(model: nn.Module, batches: list[Tensor]) -> Mapping[str, Any]:
    """Run the pass that every extraction begins with alone: it shows which axes are those of the samples."""
    tree, first = ModuleTree.of(model), batches[0]
    with evaluation_mode(model):
        _, size, _ = run_probe(tree, "output", lambda _, output: output, lambda n: model(first[:n]), len(first))
    assert size == 2
    return {}


CONTENDERS: dict[str, Callable[[nn.Module, list[Tensor]], Mapping[str, Any]]] = {
    PLAIN: peers.plain_forward,
    FLOOR: peers.preallocated,
    "ours": ours,
    POOLED: partial(ours, pool="gap"),
    AXES: sample_axes,
    **{name: capture for name, (_, capture) in peers.PEERS.items()},
}


def _table(workload: str, options: argparse.Namespace) -> Table:
    settings = json.dumps({key: getattr(options, key) for key in ("data", "quick", "device", "max_n")})
    command = [sys.executable, "-m", "benchmarks.extraction_worker", workload]
    contenders = [name for name in CONTENDERS if not (options.quick and name == peers.SLOWEST)]
    workers = {name: Worker([*command, name, settings]) for name in contenders}
    try:
        first = {name: worker.ask() for name, worker in workers.items()}
        running = [name for name in contenders if "note" not in first[name]]
        again: dict[str, list[dict[str, Any]]] = {name: [] for name in running}
        for _ in range(options.repeats or (2 if options.quick else 5)):
            for name in running:
                again[name].append(workers[name].ask())
    finally:
        for worker in workers.values():
            worker.close()
    rows = [_row(name, first[name], again[name]) for name in running]
    costs = {row["name"]: row for row in rows}
    for row in rows:
        row |= {
            "cpu_over_plain": row["cpu_seconds"] / costs[PLAIN]["cpu_seconds"],
            "wall_over_plain": row["seconds"] / costs[PLAIN]["seconds"],
            "cpu_over_floor": row["cpu_seconds"] / costs[FLOOR]["cpu_seconds"],
        }
    rows += [{"name": name, "note": first[name]["note"]} for name in contenders if name not in running]
    rows += [{"name": name, "note": "not with --quick"} for name in CONTENDERS if name not in contenders]
    assert first["ours"]["right"] == first["ours"]["calls"], f"ours: {first['ours']['right']} calls are right"
    return Table(workload, f"Extraction: {first[PLAIN]['what']}, every leaf call, one thread", rows)


def _row(name: str, first: dict[str, Any], again: list[dict[str, Any]]) -> dict[str, Any]:
    peak, counted = first["peak"], name not in (PLAIN, POOLED, AXES)
    return {
        "name": name,
        "first_seconds": first["wall"],
        "seconds": statistics.median(run["wall"] for run in again),
        "cpu_seconds": statistics.median(run["cpu"] for run in again),
        "peak_mb": None if peak is None else peak / 2**20,
        "peak_over_payload": None if peak is None else peak / first["payload"],
        "right": f"{first['right']} of {first['calls']}" if counted else None,
        "repeats": [run["wall"] for run in again],
    }
