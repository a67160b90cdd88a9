"""What the worker computes: a view of the samples with its page, and the neighbours of one sample."""

from __future__ import annotations

import base64
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from torchviz_layers._common.arrays import CheckedRows
from torchviz_layers._common.devices import resolve_device
from torchviz_layers.corner_cases import CornerCase
from torchviz_layers.exceptions import PageError, UnknownLayerError
from torchviz_layers.live.request import Request
from torchviz_layers.live.source import Source
from torchviz_layers.neighbors import knn
from torchviz_layers.page import Network, PageData, Panel
from torchviz_layers.page.live import live_page
from torchviz_layers.page.sampling import QUEUE_OF_ALL
from torchviz_layers.page.thumbnails import png, thumbnails
from torchviz_layers.panels import checked_rows, compose, measured_panel
from torchviz_layers.reducers import Embedding, embed

if TYPE_CHECKING:
    from torchviz_layers.data.targets import Targets

# The field of `PageData` that the targets of a task are in.
_TRUTH = {"classification": "targets", "regression": "values", "multilabel": "label_sets"}
_TEXT_LENGTH = 80  # letters of a neighbour's text

# Called with what is being done and which share of it is done (None: unknown); raises `Stopped` if it is no longer
# wanted.
Report = Callable[[str, float | None], None]


@dataclass(frozen=True)
class View:
    """Samples that were embedded: what was asked for, the page of it, and its corner cases by rows of the store."""

    request: Request
    label: str
    html: str
    cases: Sequence[CornerCase]


def compute_view(source: Source, request: Request, within: View | None, report: Report) -> View:
    """Embed samples and build their page.

    Parameters
    ----------
    source, request
        The store, and which of its samples and layers are embedded, and how.
    within
        The view that the samples were selected in, whose corner cases they keep; None for all samples.
    report
        Called with the progress.
    """
    rows = request.rows
    panels, embeddings = _embedded(source, request, report)
    report("building the page", None)

    def read_rows(number: int) -> CheckedRows:
        layer = request.layers[number]
        return checked_rows(layer, source.read(layer, rows))

    known = None if within is None else within.cases
    draft = _draft(source, request, panels, embeddings[0], known)
    composed = compose(draft, read_rows, corner_cases=None if known is None else _moved(known, rows))
    html = live_page(composed.data, rows[composed.rows], tuple(source.layers))
    size = f"{len(rows):,}"
    label = f"All {size}" if len(rows) == source.n_samples else f"{size} selected"
    # Without a view around them these are all samples, so that their rows are the store's.
    return View(request, label, html, composed.corner_cases if known is None else known)


def _embedded(source: Source, request: Request, report: Report) -> tuple[list[Panel], list[Embedding]]:
    """Embed and measure the layers one by one, each aligned with the one before, as `embed` does for all at once.

    Only one layer is in memory at a time: a store may be larger than it.
    """
    targets = None if source.targets is None else source.targets[request.rows]
    panels: list[Panel] = []
    embeddings: list[Embedding] = []
    for step, layer in enumerate(request.layers):
        share = step / len(request.layers)
        report(f"{request.reducer} of {layer}", share)
        values = source.read(layer, request.rows)
        rows = checked_rows(layer, values)
        embedding = embed(
            {layer: rows},
            reducer=request.make_reducer(**_callback(request, layer, share, report)),
            reference=embeddings[-1].Z if embeddings else None,
            fit_on=len(rows),
            progress=False,
        )[layer]
        report(f"measuring {layer}", None)
        shape = tuple(values.shape[1:])
        panels.append(measured_panel(layer, rows, embedding, targets, task=source.task, shape=shape))
        embeddings.append(embedding)
    return panels, embeddings


def _callback(request: Request, layer: str, share: float, report: Report) -> dict[str, Any]:
    """Return UMAP's callback, which reports its steps; none on a GPU, where the fastest engine does not call back."""
    if request.reducer != "umap" or resolve_device("auto").type != "cpu":
        return {}

    def callback(done: int, epochs: int, Z: NDArray[np.float32]) -> None:  # noqa: ARG001 - UMAP's signature
        report(f"umap of {layer}: step {done} of {epochs}", share + done / epochs / len(request.layers))

    return {"callback": callback}


def _draft(
    source: Source,
    request: Request,
    panels: Sequence[Panel],
    first: Embedding,
    known_cases: Sequence[CornerCase] | None,
) -> PageData:
    """Return the page's data without its corner cases; `first` is the embedding that the note on the engine is from."""
    rows = request.rows
    selected = ""
    if len(rows) < source.n_samples:
        selected = f"{len(rows):,} of the {source.n_samples:,} samples, embedded by themselves"
        if known_cases:
            selected += f"; neighbours are those among them, {QUEUE_OF_ALL}"
    notes = (selected, *source.notes, f"embedded by {first.engine} ({first.reason})")
    # The input is a panel of its own, in front of the network, where there is a layer left to show behind it.
    starts_with_input = len(panels) > 1 and panels[0].layer == source.input_layer
    probabilities, values = source.predictions.probabilities, source.predictions.values
    network = Network(
        source.name,
        tuple(panels[1:] if starts_with_input else panels),
        None if probabilities is None else probabilities[rows],
        None if values is None else values[rows],
    )
    labels, shown = source.labels, replace(source.shown, images=None).take(rows)
    truth: dict[str, Any] = {}
    if labels is not None:
        truth = {_TRUTH[labels.task]: labels.values[rows], "class_names": labels.class_names}
    return PageData(
        title=source.path.name,
        networks=(network,),
        images=source.pictures(rows),
        texts=shown.texts,
        rows=shown.rows,
        row_names=shown.row_names,
        series=shown.series,
        ids=source.ids[rows],
        columns={name: values[rows] for name, values in source.columns.items()},
        input_panel=panels[0] if starts_with_input else None,
        notes=tuple(filter(None, notes)),
        **truth,
    )


def _moved(cases: Sequence[CornerCase], rows: NDArray[np.int64]) -> list[CornerCase]:
    """Return those of the cases that are among `rows`, each with its position there for its sample."""
    position = {int(row): number for number, row in enumerate(rows)}
    return [replace(case, sample=position[case.sample]) for case in cases if case.sample in position]


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
    X = np.asarray(source.read(layer, np.arange(source.n_samples)))
    found, distances = knn(X, k + 1, queries=X[row : row + 1], method="exact")
    # One more than asked for, because the sample usually finds itself; among more than k duplicates it may not.
    others = found[0] != row
    rows, distances = found[0][others][:k], distances[0][others][:k]
    pictures = _pictures(source.pictures(rows), len(rows))
    texts = source.shown.texts
    items = []
    for other, distance, picture in zip(rows, distances, pictures, strict=True):
        text = None if texts is None else _beginning(texts[other])
        item = {"row": int(other), "id": str(source.ids[other]), "distance": f"{distance:.4g}", "picture": picture}
        items.append(item | {"text": text} | _truth(source.labels, int(other), row))
    return {"row": row, "layer": layer, "items": items}


def _beginning(text: str) -> str:
    """Return the first letters of a text; one that is cut ends in an ellipsis."""
    return text if len(text) <= _TEXT_LENGTH else f"{text[: _TEXT_LENGTH - 1]}…"


def _truth(labels: Targets | None, other: int, row: int) -> dict[str, Any]:
    """Return a neighbour's true class, value or labels in words, and whether they are other ones than the sample's."""
    if labels is None:
        return {"truth": None, "wrong": False}
    theirs, own = labels.values[other], labels.values[row]
    if labels.task == "regression":
        return {"truth": "no value" if np.isnan(theirs) else f"{theirs:.4g}", "wrong": False}
    if labels.task == "multilabel":
        names = [name for name, has in zip(labels.class_names, theirs, strict=True) if has]
        return {"truth": ", ".join(names) or "none of the labels", "wrong": bool((theirs != own).any())}
    if theirs < 0:
        return {"truth": "no label", "wrong": False}
    return {"truth": labels.class_names[theirs], "wrong": bool(own >= 0 and theirs != own)}


def _pictures(images: Any, n: int) -> Sequence[str | None]:
    """Return pictures as addresses that hold them, PNG in base64; None for each of n where there are no pictures."""
    if images is None:
        return [None] * n
    return ["data:image/png;base64," + base64.b64encode(png(pixels)).decode("ascii") for pixels in thumbnails(images)]
