"""Capture and extraction on a card; the judges are hooks that clone."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, nullcontext
from functools import partial
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from benchmarks import peers
from benchmarks.cuda.bench import Bench
from benchmarks.cuda.goals import Goal
from benchmarks.timing import interleave, stopwatch
from torchviz_layers import capture, extract

Under = Callable[[], AbstractContextManager[Any]]


def capturing(bench: Bench) -> Iterator[Goal]:
    """Capture every leaf call of two networks in float32 and under autocast: equal to clones, and what it costs."""
    for name, build, side in _networks(bench):
        model = build().eval().to(bench.device)
        x = torch.randn(_batch_size(bench), 3, side, side, device=bench.device)
        for number, under in (
            ("float32", nullcontext),
            ("bfloat16 autocast", partial(torch.autocast, bench.device.type, dtype=torch.bfloat16)),
        ):
            yield from _captured(bench, f"{name}, batch of {len(x)}, {number}", model, x, under)


def _networks(bench: Bench) -> list[tuple[str, Callable[[], nn.Module], int]]:
    import torchvision

    small = {"image_size": 32, "patch_size": 16, "num_layers": 2, "num_heads": 2, "hidden_dim": 32, "mlp_dim": 64}
    if bench.quick:
        vit = partial(torchvision.models.VisionTransformer, **small)
        return [("resnet18", torchvision.models.resnet18, 32), ("a small ViT", vit, 32)]
    return [("resnet18", torchvision.models.resnet18, 224), ("vit_b_16", torchvision.models.vit_b_16, 224)]


def _batch_size(bench: Bench) -> int:
    """Return 256, or fewer where the card could not hold all outputs twice."""
    if not bench.on_card:
        return bench.size(16, 1)
    free, _ = torch.cuda.mem_get_info()
    return 256 if free > 60 << 30 else 64 if free > 20 << 30 else 16


@torch.no_grad()
def _captured(bench: Bench, name: str, model: nn.Module, x: Tensor, under: Under) -> Iterator[Goal]:
    clones, handles = _cloning_hooks(model)
    try:
        with under(), capture(model) as acts:
            model(x)
    finally:
        for handle in handles:
            handle.remove()
    same = sum(key in acts and _equal(acts[key], value) for key, value in clones.items())
    summary = f"{same} of {len(clones)} calls equal"
    yield bench.judge(f"capture of {name}", "every leaf call equal to its clone", summary, same == len(clones) > 0)
    del clones, acts

    def plain() -> None:
        with under():
            model(x)

    def recorded(**options: Any) -> None:
        with under(), capture(model, **options):
            model(x)

    timings = interleave(
        {"plain": plain, "capture": recorded, "pooled": partial(recorded, pool="gap")},
        repeats=bench.size(10, 1),
        device=str(bench.device),
    )
    seconds = {who: timing.row(who)["seconds"] for who, timing in timings.items()}
    for who, goal in (("capture", 1.1), ("pooled", 1.05)):
        ratio = seconds[who] / seconds["plain"]
        yield bench.judge_speed(
            f"{'capture' if who == 'capture' else 'pooled capture'} of {name}, time",
            f"at most {goal} times the forward pass",
            f"{ratio:.2f} times",
            ratio <= goal,
            seconds=seconds[who],
            over_plain=ratio,
        )


def _cloning_hooks(model: nn.Module) -> tuple[dict[str, Tensor], list[Any]]:
    """Return what hooks on every leaf will have cloned, by call, and the hooks' handles."""
    clones: dict[str, Tensor] = {}
    calls: Counter[str] = Counter()

    def keep(name: str, _module: nn.Module, _args: Any, output: Any) -> None:
        first = output[0] if isinstance(output, tuple) else output
        clones[peers.key(name, calls[name])] = first.clone()
        calls[name] += 1

    return clones, [module.register_forward_hook(partial(keep, name)) for name, module in peers.leaves(model).items()]


def _equal(given: Any, clone: Tensor) -> bool:
    first = given[0] if isinstance(given, tuple) else given
    return bool(first.dtype == clone.dtype and torch.equal(first, clone))


def extracting(bench: Bench) -> Iterator[Goal]:
    """Extract every leaf of resnet18 to memory: as fast as the card's rows can be copied, and the rows of `capture`."""
    _, build, side = _networks(bench)[0]
    model = build().eval().to(bench.device)
    size = bench.size(64, 3)
    batches = list(torch.split(torch.randn(bench.size(4, 2) * size, 3, side, side, device=bench.device), size))
    total = sum(map(len, batches))
    figures, acts = bench.clock(
        lambda: extract(model, batches, device=bench.device, total=total, progress=False, predictions=False)
    )
    payload = sum(value.nbytes for value in acts.values())
    with torch.no_grad(), capture(model) as seen:
        model(batches[0])
    same = sum(np.array_equal(acts[key][:size], seen[key].cpu().numpy()) for key in acts)
    summary = f"{same} of {len(acts)} layers equal"
    yield bench.judge("extract of resnet18's leaves", "the rows of `capture`", summary, same == len(acts) > 0)
    del acts, seen

    rate, copy_rate = payload / figures["seconds"], _copy_rate(bench)
    figures |= {"gb_per_second": rate / 1e9, "copy_gb_per_second": copy_rate / 1e9}
    yield bench.judge_speed(
        f"extract of {payload / 1e9:.1f} GB to memory",
        "at least .8 of the rate of copies to pinned memory",
        f"{rate / copy_rate:.2f} of {copy_rate / 1e9:.1f} GB/s",
        rate >= 0.8 * copy_rate,
        **figures,
    )


def _copy_rate(bench: Bench) -> float:
    """Return the bytes a second of copies from the device to pinned memory."""
    rows = torch.ones(bench.size(1 << 28, 1 << 20), device=bench.device)
    pinned = torch.empty_like(rows, device="cpu", pin_memory=bench.on_card)
    seconds, _, _ = min(
        (stopwatch(lambda: pinned.copy_(rows, non_blocking=True), str(bench.device)) for _ in range(5)),
        key=lambda run: run[0],
    )
    return rows.nbytes / seconds
