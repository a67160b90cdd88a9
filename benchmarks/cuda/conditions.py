"""Conditions that extraction survives: too little memory, compiled models, another card than the first."""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from benchmarks.cuda.bench import Bench, CheckedUMAP
from benchmarks.cuda.goals import NOT_MEASURED, Goal
from torchviz_layers import capture, extract

_SLICE = 50  # samples of a batch that fits


class _Hungry(nn.Module):
    """A layer with an output much larger than its input; on the CPU it plays a card with little memory."""

    def forward(self, x: Tensor) -> Tensor:
        if x.device.type == "cpu" and len(x) > 100:
            raise torch.OutOfMemoryError("imitated")
        return x.repeat(1, 4096).cumsum(1)


def out_of_memory(bench: Bench) -> Iterator[Goal]:
    """Extract a batch that is too large for the memory that the process may have."""
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(16, 64), _Hungry(), nn.Linear(64 * 4096, 3)).eval().to(bench.device)
    # On a card a gigabyte for one layer, and as much again for what is added up to it; the host holds it once.
    x = torch.randn(bench.size(1_000, 120), 16)
    _outputs(model, x[:_SLICE], bench.device)  # the libraries' own memory is taken before there is a limit
    before = _settings()
    with _little_memory(bench), _warnings_of("torchviz_layers") as warned:
        found = extract(model, [x], device=bench.device, progress=False)
    kept = before == _settings()
    ran_out = sum(line.startswith("out of memory on ") for line in warned)
    off = _largest_difference(model, x, found, bench.device)
    yield bench.judge(
        f"a batch of {len(x):,} samples beyond memory",
        "halved, the rows of small batches within 1e-4, settings kept",
        f"halved {ran_out} times, {off:.1e} off, settings {'kept' if kept else 'changed'}",
        ran_out > 0 and off < 1e-4 and kept,
        off=off,
        halved=ran_out,
    )


@contextlib.contextmanager
def _little_memory(bench: Bench) -> Iterator[None]:
    """Let the process have a gigabyte more than it has."""
    if not bench.on_card:
        yield
        return
    torch.cuda.empty_cache()
    _, whole = torch.cuda.mem_get_info()
    torch.cuda.set_per_process_memory_fraction(min(1.0, (torch.cuda.memory_reserved() + (1 << 30)) / whole))
    try:
        yield
    finally:
        torch.cuda.set_per_process_memory_fraction(1.0)


@contextlib.contextmanager
def _warnings_of(logger: str) -> Iterator[list[str]]:
    """Collect what is logged as a warning."""
    lines: list[str] = []
    handler = logging.Handler(logging.WARNING)
    handler.emit = lambda record: lines.append(record.getMessage())  # type: ignore[method-assign]
    logging.getLogger(logger).addHandler(handler)
    try:
        yield lines
    finally:
        logging.getLogger(logger).removeHandler(handler)


@torch.no_grad()
def _outputs(model: nn.Module, x: Tensor, device: torch.device) -> dict[str, Tensor]:
    """Return the layers' outputs for a small batch."""
    with capture(model) as acts:
        model(x.to(device))
    return {layer: value.cpu() for layer, value in acts.items()}


def _largest_difference(model: nn.Module, x: Tensor, found: Mapping[str, Any], device: torch.device) -> float:
    """Return the largest difference to small batches' rows, as a share of the layer's largest value; slice by slice."""
    apart: dict[str, float] = {}
    largest: dict[str, float] = {}
    for start in range(0, len(x), _SLICE):
        for layer, wanted in _outputs(model, x[start : start + _SLICE], device).items():
            given = torch.from_numpy(np.asarray(found[layer][start : start + _SLICE]))
            if given.shape != wanted.shape:
                return float("inf")
            apart[layer] = max(apart.get(layer, 0.0), float((given - wanted).abs().max()))
            largest[layer] = max(largest.get(layer, 0.0), float(wanted.abs().max()))
    return max(apart[layer] / largest[layer] for layer in apart)


def _settings() -> tuple[Any, ...]:
    cudnn = torch.backends.cudnn
    return (
        cudnn.enabled,
        cudnn.benchmark,
        cudnn.deterministic,
        torch.is_autocast_enabled("cuda"),
        torch.is_autocast_enabled("cpu"),
        torch.is_grad_enabled(),
        torch.get_float32_matmul_precision(),
    )


def compiled(bench: Bench) -> Iterator[Goal]:
    """Extract and capture from a model that is compiled to CUDA graphs, whose output buffers are used again.

    Both run compiled models eagerly, so that hooks fire: what is checked is that graphs which were recorded before do
    not come between, and that the compiled model still runs as such afterwards.
    """
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(32, 64), nn.ReLU(), nn.Linear(64, 8)).eval().to(bench.device)
    batches = torch.split(torch.randn(400, 32, device=bench.device), 100)
    wanted = extract(model, batches, progress=False)
    options: dict[str, Any] = {"mode": "reduce-overhead"} if bench.on_card else {"backend": "eager"}
    fast: Any = torch.compile(model, **options)
    with torch.no_grad():
        for batch in batches:
            fast(batch)
    found = extract(fast, batches, progress=False)
    yield _same_layers(bench, "extract of a compiled model", found, wanted)

    parts = []
    with torch.no_grad():
        for batch in batches:
            with capture(fast) as acts:
                fast(batch)
            # Not copied before all batches have run: a buffer that is used again would hold another batch's rows.
            parts.append(dict(acts.items()))
    captured = {layer: torch.cat([part[layer] for part in parts]).cpu().numpy() for layer in parts[0]}
    yield _same_layers(bench, "capture of a compiled model", captured, wanted)

    with torch.no_grad():
        off = float((fast(batches[0]) - model(batches[0])).abs().max())
    yield bench.judge("a compiled model after it", "the model's output within 1e-5", f"{off:.1e} off", off <= 1e-5)


def _same_layers(bench: Bench, name: str, found: Mapping[str, Any], wanted: Mapping[str, Any]) -> Goal:
    same = sum(layer in found and np.array_equal(found[layer], wanted[layer]) for layer in wanted)
    summary = f"{same} of {len(wanted)} layers equal"
    return bench.judge(name, "the rows of the model itself", summary, same == len(wanted) > 0)


def second_card(bench: Bench) -> Iterator[Goal]:
    """Run on the second card while the first is the current one."""
    name, wanted = "extract and UMAP on cuda:1", "ends, the rows and the map of cuda:0 within 1e-3"
    if not bench.on_card or torch.cuda.device_count() < 2:
        yield Goal(name, wanted, "there is no second card", NOT_MEASURED)
        return
    torch.manual_seed(0)
    model, x = nn.Sequential(nn.Linear(32, 64), nn.ReLU()), torch.randn(2_000, 32)
    rows, maps = [], []
    for device in ("cuda:0", "cuda:1"):
        acts = extract(model, torch.split(x, 256), device=device, keep_on=device, progress=False)
        rows.append(acts["1"].cpu())
        maps.append(CheckedUMAP(engine="torch", device=device, random_state=0).fit_transform(acts["1"]))
    off = max(float((rows[0] - rows[1]).abs().max()), float(np.abs(maps[0] - maps[1]).max()))
    yield bench.judge(name, wanted, f"{off:.1e} off", off <= 1e-3, off=off)
