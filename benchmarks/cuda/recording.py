"""Capture, extraction and the page on a card; the judges are hooks that clone and the same on the CPU."""

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
from benchmarks.cuda.bench import NOT_MEASURED, Bench, Goal, has
from benchmarks.timing import interleave, stopwatch
from torchviz_layers import UMAP, capture, extract, load_model

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
            yield from _captured(bench, f"{name}, {len(x)} images, {number}", model, x, under)


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
        return bench.size(16, 3)
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
    told = f"{same} of {len(clones)} calls equal"
    yield bench.judge(f"capture of {name}", "every leaf call equal to its clone", told, same == len(clones))
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
    batches = list(torch.randn(bench.size(4, 2) * size, 3, side, side, device=bench.device).split(size))
    total = sum(map(len, batches))
    figures, acts = bench.clock(
        lambda: extract(model, batches, device=bench.device, total=total, progress=False, predictions=False)
    )
    payload = sum(value.nbytes for value in acts.values())
    with torch.no_grad(), capture(model) as seen:
        model(batches[0])
    same = sum(np.array_equal(acts[key][:size], seen[key].cpu().numpy()) for key in acts)
    told = f"{same} of {len(acts)} layers equal"
    yield bench.judge("extract of resnet18's leaves", "the rows of `capture`", told, same == len(acts) > 0)
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
    x = torch.randn(bench.size(4_000, 300), 16)
    wanted = extract(model, x.split(50), device=bench.device, progress=False)
    before = _settings()
    if bench.on_card:
        torch.cuda.empty_cache()
        _, whole = torch.cuda.mem_get_info()
        torch.cuda.set_per_process_memory_fraction(min(1.0, (torch.cuda.memory_reserved() + (1 << 30)) / whole))
    try:
        found = extract(model, [x], device=bench.device, progress=False)
    finally:
        if bench.on_card:
            torch.cuda.set_per_process_memory_fraction(1.0)
    off = max(float(np.abs(found[layer] - wanted[layer]).max() / np.abs(wanted[layer]).max()) for layer in wanted)
    same = len(found["0"]) == len(x) and off < 1e-4
    kept = before == _settings()
    yield bench.judge(
        f"a batch of {len(x):,} samples beyond memory",
        "the rows of small batches within 1e-4, settings kept",
        f"{off:.1e} off, settings {'kept' if kept else 'changed'}",
        same and kept,
        off=off,
    )


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


def page(bench: Bench) -> Iterator[Goal]:
    """Make the page of two networks: as accurate as on the CPU, the maps as faithful."""
    within = bench.size(10, 50) / 1000  # maps of a few hundred samples differ by more
    name, wanted = "visualize_layers of two networks", f"the CPU's accuracies, trustworthiness within {within}"
    if not has("bokeh"):
        yield bench.without(name, wanted, "Bokeh")
        return
    from torchviz_layers import visualize_layers

    samples = bench.samples(bench.size(2_000, 250))
    models: dict[str, nn.Module] = {"dense": load_model("mnist_dense128"), "LeNet": load_model("mnist_lenet60")}
    layers = None if not bench.quick else [-2, -1]
    reducer = UMAP(engine="torch", device=bench.device, random_state=0, n_epochs=50 if bench.quick else None)
    seconds, _, ours = stopwatch(
        lambda: visualize_layers(models, samples, layers, reducer=reducer, device=bench.device, progress=False),
        str(bench.device),
    )
    on_cpu = UMAP(engine="numba", device="cpu", random_state=0, n_epochs=50 if bench.quick else None)
    theirs = visualize_layers(models, samples, layers, reducer=on_cpu, device="cpu", progress=False)
    pairs = list(zip(ours.data.networks, theirs.data.networks, strict=True))
    accuracies = [(a.accuracy(samples.targets), b.accuracy(samples.targets)) for a, b in pairs]
    lost = max(
        b.trustworthiness - a.trustworthiness
        for one, other in pairs
        for a, b in zip(one.panels, other.panels, strict=True)
        if a.trustworthiness is not None and b.trustworthiness is not None
    )
    told = ", ".join(f"{a:.4f} and {b:.4f}" for a, b in accuracies if a is not None and b is not None)
    yield bench.judge(
        f"{name}, {len(samples):,} of {samples.name}",
        wanted,
        f"accuracies {told}, trustworthiness {-lost:+.4f} at worst",
        all(a == b for a, b in accuracies) and lost <= within,
        seconds=seconds,
        trustworthiness_lost=lost,
    )


def compiled(bench: Bench) -> Iterator[Goal]:
    """Extract from a model that is compiled to CUDA graphs, whose output buffers are used again."""
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(32, 64), nn.ReLU(), nn.Linear(64, 8)).eval().to(bench.device)
    batches = torch.randn(400, 32, device=bench.device).split(100)
    wanted = extract(model, batches, progress=False)
    fast = torch.compile(model, mode="reduce-overhead") if bench.on_card else torch.compile(model, backend="eager")
    with torch.no_grad():
        for batch in batches:
            fast(batch)
    found = extract(fast, batches, progress=False)
    same = sum(np.array_equal(found[layer], wanted[layer]) for layer in wanted)
    told = f"{same} of {len(wanted)} layers equal"
    yield bench.judge("extract of a compiled model", "the rows of the model itself", told, same == len(wanted))


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
        acts = extract(model, x.split(256), device=device, keep_on=device, progress=False)
        rows.append(acts["1"].cpu())
        maps.append(UMAP(engine="torch", random_state=0).fit_transform(acts["1"]))
    off = max(float((rows[0] - rows[1]).abs().max()), float(np.abs(maps[0] - maps[1]).max()))
    yield bench.judge(name, wanted, f"{off:.1e} off", off <= 1e-3, off=off)
