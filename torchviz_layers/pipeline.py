"""The stages composed: extraction, embedding, measures, corner cases, page."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from torch import nn
from tqdm import tqdm

from torchviz_layers._common.predictions import probabilities_for
from torchviz_layers.data import Samples
from torchviz_layers.exceptions import DataError, ModelError
from torchviz_layers.extraction import extract
from torchviz_layers.hooks import computing_layers, list_layers
from torchviz_layers.models import check_input, model_transform, naming_model, trained_on
from torchviz_layers.page import Network, Page, PageData, Panel, build_page
from torchviz_layers.panels import INPUT, checked_rows, compose, measured_panel
from torchviz_layers.reducers import Embedding, Reducer, embed

if TYPE_CHECKING:
    import numpy as np

    from torchviz_layers._common.arrays import CheckedRows
    from torchviz_layers.extraction import Activations

Layers = str | int | Sequence[str | int] | None


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
    """Show the same samples in the layers of one or two networks, on one self-contained page.

    Parameters
    ----------
    models : nn.Module, or mapping of name to nn.Module
        One or two networks. A module's `transform`, if it has one, turns images into its input.
    samples : Samples
        The samples to show.
    layers : str, int or sequence of such, or mapping of model name to such, optional
        Qualified names, globs (`conv_*`), or indices in order of execution (-1 the last). Default: every layer that
        computes something.
    reducer : str or object with `fit_transform`
        What reduces a layer to two dimensions, for example `UMAP(random_state=0)`.
    device : str or torch.device
        "auto": the first CUDA device, or else the CPU.
    batch_size : int
        Samples per forward pass.
    title : str, optional
        The page's title. Default: the name of the data.
    progress : bool
        Show a progress bar for what takes more than two seconds.

    Returns
    -------
    Page
        `save(path)` writes it, `show()` opens it, a notebook displays it.

    Raises
    ------
    ModelError
        If the images do not fit a model, or the model fails on them; the message names both.
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
    kinds = {}
    for name, model in named.items():
        kinds[name] = {layer.name: layer.kind for layer in list_layers(model)}
    return build_page(_page_data(captured, samples, title, _Options(reducer, device, progress, kinds, about_data)))


@dataclass(frozen=True)
class _Options:
    """What the stages of one page share: options of the caller, and facts about models and data.

    `kinds` maps each model's layers to their kinds; `about_data` is a note, or empty.
    """

    reducer: str | Reducer
    device: str | torch.device
    progress: bool
    kinds: Mapping[str, Mapping[str, str]]
    about_data: str


def out_of_distribution(models: Mapping[str, nn.Module], samples: Samples) -> str:
    """Return a sentence on the networks that are known to be trained on other data; empty if there are none."""
    others = []
    if samples.dataset:  # without it the data are the user's own
        others = [name for name, model in models.items() if trained_on(model) not in (None, samples.dataset)]
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
    """Return the outputs of a model's layers; errors name the model."""
    wanted: Any = layers
    computing = set(computing_layers(model))
    if layers is None and computing:
        # A function, unlike a list of names, leaves out layers whose output has no axis of samples.
        def wanted(layer: str, _module: nn.Module) -> bool:
            return layer in computing

    transform = model_transform(model)
    with naming_model(name, samples.shown.images.shape[1:]):
        example = next(samples.batches(1, transform))[0]
        check_input(model, tuple(example.shape[1:]), name)
        return extract(
            model, samples.batches(batch_size, transform), wanted, device=device, total=len(samples), progress=progress
        )


def _page_data(captured: Mapping[str, Activations], samples: Samples, title: str | None, shared: _Options) -> PageData:
    """Embed and measure all layers, and return what the page shows."""
    # The page shows every sample's neighbours, which a layer that is fitted on some of the rows does not have.
    options: dict[str, Any] = {
        "reducer": shared.reducer,
        "device": shared.device,
        "progress": shared.progress,
        "fit_on": len(samples),
    }
    pixels = checked_rows(INPUT, samples.shown.images)
    rows = {name: {layer: checked_rows(layer, acts[layer]) for layer in acts} for name, acts in captured.items()}
    input_embedding = embed({INPUT: pixels}, **options)[INPUT]
    embeddings = {name: embed(layers, reference=input_embedding.Z, **options) for name, layers in rows.items()}

    notes = [shared.about_data, samples.notice, f"embedded by {input_embedding.engine} ({input_embedding.reason})"]
    networks = []
    for name, acts in captured.items():
        probabilities, found = probabilities_for(name, acts.predictions, samples.class_names)
        notes += found
        panels = _panels(name, captured, rows, embeddings[name], samples.targets, shared)
        networks.append(Network(name, panels, probabilities))
    input_panel = measured_panel(
        INPUT, pixels, input_embedding, samples.targets, shape=samples.shown.images.shape[1:], device=shared.device
    )
    draft = PageData(
        title=title or samples.name,
        networks=tuple(networks),
        images=samples.shown.images,
        targets=samples.targets,
        class_names=samples.class_names,
        ids=samples.ids,
        input_panel=input_panel,
        notes=tuple(filter(None, notes)),
    )
    in_order = [pixels, *(layer for layers in rows.values() for layer in layers.values())]
    return compose(draft, in_order.__getitem__, device=shared.device).data


def _panels(
    name: str,
    captured: Mapping[str, Activations],
    rows: Mapping[str, Mapping[str, CheckedRows]],
    embeddings: Mapping[str, Embedding],
    targets: np.ndarray | None,
    shared: _Options,
) -> tuple[Panel, ...]:
    """Return the panels of one network, each compared with the other network's layer at its depth, if there are two."""
    acts, kinds = captured[name], shared.kinds[name]
    others = [layers for other, layers in rows.items() if other != name]
    panels = []
    bar = tqdm(
        embeddings, desc="measuring", unit="layer", delay=2, leave=False, disable=None if shared.progress else True
    )
    for step, layer in enumerate(bar):
        peer = None
        if others:
            peer = others[0][_at_depth(step, len(embeddings), list(others[0]))]
        panel = measured_panel(
            layer,
            rows[name][layer],
            embeddings[layer],
            targets,
            shape=tuple(acts[layer].shape[1:]),
            kind=kinds.get(layer.partition(":")[0], ""),  # all calls of a module are of its kind
            peer=peer,
            device=shared.device,
        )
        panels.append(panel)
    return tuple(panels)


def _at_depth(step: int, n_layers: int, others: Sequence[str]) -> str:
    """Return the other network's layer at the same relative depth."""
    depth = step / max(1, n_layers - 1)
    return others[round(depth * (len(others) - 1))]
