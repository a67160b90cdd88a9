"""Computed off the event loop: a layout and its page, and the neighbours of one sample."""

from __future__ import annotations

import base64
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from torchviz_layers._common.devices import resolve_device
from torchviz_layers.corner_cases import CornerCase, find_corner_cases, telling_layers
from torchviz_layers.exceptions import PageError, UnknownLayerError
from torchviz_layers.live.request import Layout
from torchviz_layers.live.source import Source
from torchviz_layers.neighbors import knn
from torchviz_layers.page import Network, PageData, Panel
from torchviz_layers.page.live import live_page
from torchviz_layers.page.sampling import QUEUE_OF_ALL
from torchviz_layers.page.thumbnails import png, thumbnails
from torchviz_layers.pipeline import N_JOURNEY, measured_panel, neighbors_among_shown
from torchviz_layers.reducers import Embedding, embed

# Told what is being done and which share of it is done (None: unknown); raises `Stopped` where nobody waits.
Tell = Callable[[str, float | None], None]


@dataclass(frozen=True)
class View:
    """A layout that was computed: what it shows, its page, and its corner cases, by rows of the store."""

    layout: Layout
    label: str
    html: str
    cases: Sequence[CornerCase]


def compute_view(source: Source, layout: Layout, within: View | None, tell: Tell) -> View:
    """Lay samples out and build their page.

    Parameters
    ----------
    source, layout
        What is laid out.
    within
        The view that the samples were selected in, whose corner cases they keep; None for all samples.
    tell
        Told of the progress.
    """
    embeddings = _embed(source, layout, tell)
    panels = []
    for name, embedding in embeddings.items():
        tell(f"measuring {name}", None)
        targets = None if source.targets is None else source.targets[layout.rows]
        panels.append(measured_panel(name, source.read(name, layout.rows), embedding, targets))
    tell("building the page", None)
    cases = _cases(source, layout, embeddings) if within is None else within.cases
    size = f"{len(layout.rows):,}"
    label = f"All {size}" if len(layout.rows) == source.n_samples else f"{size} selected"
    data = _page_data(source, layout, panels, embeddings, cases)
    data = neighbors_among_shown(data, (source.read(name, layout.rows) for name in layout.layers))
    return View(layout, label, live_page(data, layout.rows, tuple(source.layers)), cases)


def _embed(source: Source, layout: Layout, tell: Tell) -> dict[str, Embedding]:
    """Lay the layers out one by one, each turned onto the one before, as `embed` does for all at once."""
    found: dict[str, Embedding] = {}
    reference = None
    for place, name in enumerate(layout.layers):
        share = place / len(layout.layers)
        tell(f"{layout.reducer} of {name}", share)
        reducer = layout.make_reducer(**_reporting(layout, name, share, tell))
        rows = {name: source.read(name, layout.rows)}
        found |= embed(rows, reducer=reducer, reference=reference, fit_on=len(layout.rows), progress=False)
        reference = found[name].Z
    return found


def _reporting(layout: Layout, name: str, share: float, tell: Tell) -> dict[str, Any]:
    """Return UMAP's callback; none on a card, where the quickest engine takes none and is quick."""
    if layout.reducer != "umap" or resolve_device("auto").type != "cpu":
        return {}

    def report(done: int, epochs: int, Z: NDArray[np.float32]) -> None:  # noqa: ARG001 - UMAP's signature
        tell(f"umap of {name}: step {done} of {epochs}", share + done / epochs / len(layout.layers))

    return {"callback": report}


def _page_data(
    source: Source,
    layout: Layout,
    panels: Sequence[Panel],
    embeddings: Mapping[str, Embedding],
    cases: Sequence[CornerCase],
) -> PageData:
    rows = layout.rows
    engine = next(iter(embeddings.values()))
    part = "" if len(rows) == source.n_samples else f"{len(rows):,} of its {source.n_samples:,} samples, laid out anew"
    if part and cases:
        part += f"; neighbours are those among them, {QUEUE_OF_ALL}"
    shared = (
        panels[0] if len(panels) > 1 and next(iter(source.layers)) == panels[0].layer and _has_input(source) else None
    )
    position = {int(row): place for place, row in enumerate(rows)}
    return PageData(
        title=source.path.name,
        networks=(
            Network(
                source.name,
                tuple(panels if shared is None else panels[1:]),
                None if source.probabilities is None else source.probabilities[rows],
            ),
        ),
        images=source.pictures(rows),
        targets=None if source.targets is None else source.targets[rows],
        class_names=source.class_names,
        ids=source.ids[rows],
        input_panel=shared,
        corner_cases=[replace(case, sample=position[case.sample]) for case in cases if case.sample in position],
        notes=tuple(filter(None, (part, *source.notes, f"embedded by {engine.engine} ({engine.reason})"))),
    )


def _has_input(source: Source) -> bool:
    return not source.channels_last and source.images is not None


def _cases(source: Source, layout: Layout, embeddings: Mapping[str, Embedding]) -> Sequence[CornerCase]:
    """Return the corner cases among all samples; without targets or answers there are none."""
    if source.targets is None or source.probabilities is None:
        return []
    if source.targets.max() >= source.probabilities.shape[1]:
        return []
    near = {layer: embedding.neighbors[:, :N_JOURNEY] for layer, embedding in embeddings.items()}
    telling = telling_layers({name: source.layers[name].shape[1:] for name in layout.layers[:-1]})
    evidence = {name: source.read(name, layout.rows) for name in telling}
    names = source.class_names or None
    return find_corner_cases(source.probabilities, source.targets, evidence, neighbors=near, class_names=names)


def find_neighbors(source: Source, row: int, layer: Any, k: Any) -> dict[str, Any]:
    """Return the k nearest of all samples to one, in a layer's activation space, as the page shows them.

    Raises
    ------
    UnknownLayerError, PageError
        For a layer that the store does not have, or a k that does not fit.
    NonFiniteError
        If the layer holds NaN or infinity.
    """
    if layer not in source.layers:
        raise UnknownLayerError(f"layer: {layer!r} is none of the store's ({', '.join(source.layers)})")
    most = min(100, source.n_samples - 1)
    if type(k) is not int or not 1 <= k <= most:
        raise PageError(f"nearest: {k!r} is not a whole number from 1 to {most}")
    X = np.asarray(source.layers[layer][:])
    found, distances = knn(X, k + 1, queries=X[row : row + 1], method="exact")
    others = found[0] != row  # among more than k duplicates it may not be there at all
    rows, distances = found[0][others][:k], distances[0][others][:k]
    pictures = _pictures(source.pictures(rows), len(rows))
    truth = source.targets
    names = source.class_names
    return {
        "row": row,
        "layer": layer,
        "items": [
            {
                "row": int(other),
                "id": str(source.ids[other]),
                "distance": f"{distance:.4g}",
                "truth": None if truth is None else (names[truth[other]] if names else str(truth[other])),
                "wrong": truth is not None and bool(truth[other] != truth[row]),
                "picture": picture,
            }
            for other, distance, picture in zip(rows, distances, pictures, strict=True)
        ],
    }


def _pictures(images: Any, n: int) -> Sequence[str | None]:
    """Return pictures as addresses that hold them, PNG in base64; None for each of n where there are no pictures."""
    if images is None:
        return [None] * n
    return ["data:image/png;base64," + base64.b64encode(png(pixels)).decode("ascii") for pixels in thumbnails(images)]
