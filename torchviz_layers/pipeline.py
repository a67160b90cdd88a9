"""The stages composed: capture, embedding, measures, corner cases, page."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import chain, islice
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import nn
from tqdm import tqdm

from torchviz_layers import metrics
from torchviz_layers._common.predictions import probabilities_for
from torchviz_layers._common.votes import same_label_share
from torchviz_layers.corner_cases import CornerCase, find_corner_cases, telling_layers
from torchviz_layers.data import Samples
from torchviz_layers.exceptions import DataError, ModelError
from torchviz_layers.extraction import extract
from torchviz_layers.hooks import computing_layers, list_layers
from torchviz_layers.models import check_input, model_transform, naming_model, trained_on
from torchviz_layers.neighbors import knn
from torchviz_layers.page import Network, Page, PageData, Panel, build_page
from torchviz_layers.page.build import MAX_SAMPLES
from torchviz_layers.page.sampling import shown_rows
from torchviz_layers.reducers import Embedding, Reducer, embed
from torchviz_layers.reducers.embedding import N_NEIGHBORS, layer_rows

if TYPE_CHECKING:
    from torchviz_layers.extraction import Activations

Layers = str | int | Sequence[str | int] | None

N_VOTES = 10
N_JOURNEY = 8
MEASURED = 1_000  # samples that the costlier measures are taken on
INPUT = "input"


def visualize_layers(
    models: nn.Module | Mapping[str, nn.Module],
    samples: Samples,
    layers: Layers | Mapping[str, Layers] = None,
    *,
    reducer: str | Reducer = "umap",
    device: str | torch.device = "auto",
    batch_size: int = 256,
    title: str | None = None,
    progress: bool = True,
) -> Page:
    """Follow the same samples through the layers of one or two networks: one self-contained page.

    Parameters
    ----------
    models : nn.Module, or mapping of name to nn.Module
        One or two networks; a module's `transform`, where it has one, turns images into its input.
    samples : Samples
        What flows through them.
    layers : str, int or sequence of such, or mapping of model name to such, optional
        Qualified names, globs (`conv_*`), or indices in order of execution (-1 the last); default every layer that
        computes something.
    reducer : str or object with `fit_transform`
        What lays a layer out, `UMAP(random_state=0)` say.
    device : str or torch.device
        "auto" takes the first CUDA card, or else the CPU.
    batch_size : int
        Samples a forward pass.
    title : str, optional
        The page's title; default the name of the data.
    progress : bool
        Show bars on what takes over two seconds.

    Returns
    -------
    Page
        `save(path)` writes it, `show()` opens it, a notebook displays it.

    Raises
    ------
    ModelError
        If the images do not fit a model, or it fails on them; both are named.
    DataError
        If there are fewer than two samples.
    UnknownLayerError
        If a layer's name matches nothing.
    """
    named = {"model": models} if isinstance(models, nn.Module) else dict(models)
    if not 1 <= len(named) <= 2:
        raise ModelError(f"models: one or two networks expected, got {len(named)}")
    if len(samples) < 2:
        raise DataError(f"{samples.name}: a page needs at least two samples, got {len(samples)}")
    chosen = layers if isinstance(layers, Mapping) else dict.fromkeys(named, layers)
    if unknown := set(chosen) - set(named):
        raise ModelError(f"layers: {sorted(unknown)} is none of the models ({', '.join(named)})")
    captured = {
        name: _extract(name, model, samples, chosen.get(name), device, batch_size, progress)
        for name, model in named.items()
    }
    about_data = out_of_distribution(named, samples)
    kinds = {name: {layer.name: layer.kind for layer in list_layers(model)} for name, model in named.items()}
    return build_page(_page_data(captured, samples, title, _How(reducer, device, progress, kinds, about_data)))


@dataclass(frozen=True)
class _How:
    """Options that every stage of one page shares."""

    reducer: str | Reducer
    device: str | torch.device
    progress: bool
    kinds: Mapping[str, Mapping[str, str]]
    about_data: str


def out_of_distribution(models: Mapping[str, nn.Module], samples: Samples) -> str:
    """Return a sentence that names networks known to be trained on other data than these; empty without any."""
    others = [
        name for name, model in models.items() if samples.dataset not in ("", trained_on(model) or samples.dataset)
    ]
    if not others:
        return ""
    was = "was" if len(others) == 1 else "were"
    return f"out of distribution: {' and '.join(others)} {was} trained on MNIST, and {samples.dataset} is other data"


def _extract(
    name: str,
    model: nn.Module,
    samples: Samples,
    layers: Layers,
    device: str | torch.device,
    batch_size: int,
    progress: bool,
) -> Activations:
    computing = set(computing_layers(model))
    # A choice by function: a layer that gives no row a sample is left out rather than an error.
    default = (lambda layer, _module: layer in computing) if computing else None
    wanted: Any = layers if layers is not None else default
    transform = model_transform(model)
    with naming_model(name, samples.images.shape[1:]):
        check_input(model, tuple(next(samples.batches(1, transform))[0].shape[1:]), name)
        return extract(
            model, samples.batches(batch_size, transform), wanted, device=device, total=len(samples), progress=progress
        )


def _page_data(captured: Mapping[str, Activations], samples: Samples, title: str | None, how: _How) -> PageData:
    options: dict[str, Any] = {"reducer": how.reducer, "device": how.device, "progress": how.progress}
    options["fit_on"] = len(samples)  # the page follows neighbours, which a layer fitted on a sample has not
    pixels = embed({INPUT: samples.images}, **options)[INPUT]
    embeddings = {name: embed(acts, reference=pixels.Z, **options) for name, acts in captured.items()}
    notes = [how.about_data, samples.notice, f"embedded by {pixels.engine} ({pixels.reason})"]
    outputs = {}
    for name, acts in captured.items():
        outputs[name], found = probabilities_for(name, acts.predictions, samples.class_names)
        notes += found
    networks = []
    for name, acts in captured.items():
        other = next((o for o in captured.values() if o is not acts), None)
        panels = _panels(acts, embeddings[name], how.kinds[name], samples.targets, other, how)
        networks.append(Network(name, panels, outputs[name]))
    data = PageData(
        title=title or samples.name,
        networks=tuple(networks),
        images=samples.images,
        targets=samples.targets,
        class_names=samples.class_names,
        ids=samples.ids,
        input_panel=measured_panel(INPUT, samples.images, pixels, samples.targets, device=how.device),
        corner_cases=_corner_cases(outputs, samples, captured, {INPUT: pixels}, embeddings),
        notes=tuple(filter(None, notes)),
    )
    layers = chain([samples.images], *(acts.values() for acts in captured.values()))
    return neighbors_among_shown(data, layers, device=how.device)


def neighbors_among_shown(
    data: PageData, layers: Iterable[Any], *, device: str | torch.device = "auto", max_samples: int = MAX_SAMPLES
) -> PageData:
    """Return the data with neighbours that the page can show: where it shows a part, the nearest of that part.

    Parameters
    ----------
    data
        What the page is built from; measures and corner cases stay those of all samples.
    layers
        Activations of each of `data.panels`, in their order.
    device, max_samples
        Where neighbours are searched, and how many samples a page shows.
    """
    rows = shown_rows(data, max_samples)
    if len(rows) == data.n_samples:
        return data
    found = (_among(panel, X, rows, device) for panel, X in zip(data.panels, layers, strict=True))
    pixels = None if data.input_panel is None else next(found)
    networks = tuple(replace(n, panels=tuple(islice(found, len(n.panels)))) for n in data.networks)
    return replace(data, input_panel=pixels, networks=networks)


def _among(panel: Panel, activations: Any, rows: np.ndarray, device: str | torch.device) -> Panel:
    if panel.neighbors is None or len(rows) < 2:
        return panel
    k = min(panel.neighbors.shape[1], len(rows) - 1)
    near = panel.neighbors[:, :k].copy()
    near[rows] = rows[knn(layer_rows(panel.layer, activations)[rows], k, device=device)[0]]
    return replace(panel, neighbors=near)


def _panels(
    acts: Activations,
    embeddings: Mapping[str, Embedding],
    kinds: Mapping[str, str],
    targets: np.ndarray | None,
    other: Activations | None,
    how: _How,
) -> tuple[Panel, ...]:
    panels = []
    bar = tqdm(embeddings, desc="measuring", unit="layer", delay=2, leave=False, disable=None if how.progress else True)
    for place, name in enumerate(bar):
        peer = None if other is None else other[_at_depth(place, len(embeddings), other.layers)]
        kind = kinds.get(name.partition(":")[0], "")  # all calls of a module are of its kind
        panel = measured_panel(name, acts[name], embeddings[name], targets, device=how.device, peer=peer, kind=kind)
        panels.append(panel)
    return tuple(panels)


def _at_depth(place: int, n_layers: int, others: Sequence[str]) -> str:
    """Return the other network's layer at the same relative depth."""
    depth = place / max(1, n_layers - 1)
    return others[round(depth * (len(others) - 1))]


def measured_panel(
    name: str,
    activations: Any,
    embedding: Embedding,
    targets: np.ndarray | None,
    *,
    device: str | torch.device = "auto",
    peer: Any = None,
    kind: str = "",
) -> Panel:
    """Return a layer's panel with its measures; `peer` is the other network's layer of that depth, for CKA."""
    X = layer_rows(name, activations)
    votes = embedding.neighbors[:, :N_VOTES]
    some = np.random.default_rng(0).permutation(len(X))[:MEASURED]
    drawn = np.isfinite(embedding.Z).all(1)  # rows without a neighbour under the reducer's metric are not
    k = min(N_NEIGHBORS, (int(drawn.sum()) - 1) // 2)  # what trustworthiness is defined for
    folds = min(5, len(X))
    probe = None if targets is None else metrics.linear_probe_accuracy(X, targets, folds=folds, device=device)
    trust = None
    if k > 0:
        trust = metrics.trustworthiness(X[drawn], embedding.Z[drawn], k, sample=MEASURED, device=device)
    return Panel(
        layer=name,
        Z=embedding.Z,
        neighbors=embedding.neighbors[:, :N_JOURNEY],
        purity=None if targets is None else same_label_share(votes, targets),
        probe_accuracy=probe,
        trustworthiness=trust,
        cka=None if peer is None else metrics.linear_cka(X[some], layer_rows(name, peer)[some], device=device),
        kind=kind,
        shape=tuple(activations.shape[1:]),
    )


def _corner_cases(
    outputs: Mapping[str, np.ndarray | None],
    samples: Samples,
    captured: Mapping[str, Activations],
    pixels: Mapping[str, Embedding],
    embeddings: Mapping[str, Mapping[str, Embedding]],
) -> list[CornerCase]:
    probabilities = {name: p for name, p in outputs.items() if p is not None}
    if samples.targets is None or not probabilities:
        return []
    # Those that the page shows: or a reason would speak of a vote that the journey beside it denies.
    neighbors = {
        name: {layer: e.neighbors[:, :N_JOURNEY] for layer, e in {**pixels, **embeddings[name]}.items()}
        for name in probabilities
    }
    inputs = samples.images.reshape(len(samples), -1)
    shapes = {
        name: {INPUT: inputs.shape[1:], **{e: captured[name][e].shape[1:] for e in list(embeddings[name])[:-1]}}
        for name in probabilities
    }
    evidence = {
        name: {e: inputs if e == INPUT else captured[name][e] for e in telling_layers(shapes[name])}
        for name in probabilities
    }
    return find_corner_cases(
        probabilities, samples.targets, evidence, neighbors=neighbors, class_names=samples.class_names
    )
