"""The page on a card; the same on the CPU is the judge."""

from __future__ import annotations

from collections.abc import Iterator

from torch import nn

from benchmarks.cuda.bench import Bench, CheckedUMAP, has
from benchmarks.cuda.goals import MEASURED, Goal
from benchmarks.timing import stopwatch
from torchviz_layers import load_model


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
    reducer = CheckedUMAP(engine="torch", device=bench.device, random_state=0, n_epochs=50 if bench.quick else None)
    seconds, _, ours = stopwatch(
        lambda: visualize_layers(models, samples, layers, reducer=reducer, device=bench.device, progress=False),
        str(bench.device),
    )
    title = f"{name}, {len(samples):,} of {samples.name}"
    accuracies = [network.accuracy(samples.targets) for network in ours.data.networks]
    summary = ", ".join("unknown" if value is None else f"{value:.4f}" for value in accuracies)
    yield Goal(title, "", f"accuracies {summary}", MEASURED, {"seconds": seconds})

    on_cpu = CheckedUMAP(engine="numba", device="cpu", random_state=0, n_epochs=50 if bench.quick else None)
    theirs = visualize_layers(models, samples, layers, reducer=on_cpu, device="cpu", progress=False)
    expected = [network.accuracy(samples.targets) for network in theirs.data.networks]
    pairs = zip(ours.data.networks, theirs.data.networks, strict=True)
    lost = [
        b.trustworthiness - a.trustworthiness
        for one, other in pairs
        for a, b in zip(one.panels, other.panels, strict=True)
        if a.trustworthiness is not None and b.trustworthiness is not None
    ]
    same = accuracies == expected and len(accuracies) == len(models) and None not in accuracies
    worst = max(lost)  # raises where no panel has the measure: nothing would have been compared
    yield bench.judge(
        f"{title}, beside the CPU",
        wanted,
        f"accuracies {'the same' if same else 'differ'}, trustworthiness {-worst:+.4f} at worst",
        same and worst <= within,
        trustworthiness_lost=worst,
    )
