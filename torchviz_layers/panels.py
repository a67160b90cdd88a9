"""From measured layers to what a page shows: composed in one place for the offline page and the live page."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from torchviz_layers import metrics
from torchviz_layers._common.arrays import CheckedRows
from torchviz_layers._common.votes import mean_jaccard, neighbor_means, r2, same_label_share
from torchviz_layers.corner_cases import CornerCase, informative_layers
from torchviz_layers.corner_cases.finding import search
from torchviz_layers.data.targets import Targets
from torchviz_layers.neighbors import knn
from torchviz_layers.page import PageData, Panel
from torchviz_layers.page.build import MAX_SAMPLES
from torchviz_layers.page.sampling import only_rows, shown_rows
from torchviz_layers.page.summaries import SHOWN_NEIGHBORS, journey, shown_neighbors
from torchviz_layers.reducers.embedding import N_NEIGHBORS, layer_rows

if TYPE_CHECKING:
    import torch

    from torchviz_layers.reducers import Embedding

INPUT = "input"  # name of the panel of the samples themselves

N_VOTES = 10  # neighbours that purity is counted on
MEASURED = 1_000  # samples that the costlier measures are computed on
_FOLDS = 5  # of the linear probe, or as many as there are samples

Measures = dict[str, float | None]  # fields of `Panel`

# Takes the number of a panel in `PageData.panels` and returns the rows of its layer.
ReadRows = Callable[[int], CheckedRows]


def checked_rows(layer: str, activations: Any) -> CheckedRows:
    """Return a layer's activations (n_samples, ...) as rows; the one check on their way to the page.

    Raises
    ------
    NonFiniteError
        If the layer contains NaN or infinity; the message names the layer and the rows.
    """
    return CheckedRows(np.ascontiguousarray(layer_rows(layer, activations)))


def measured_panel(
    layer: str,
    rows: CheckedRows,
    embedding: Embedding,
    targets: NDArray[Any] | None,
    *,
    task: str | None = "classification",
    shape: tuple[int, ...] = (),
    kind: str = "",
    peer: CheckedRows | None = None,
    device: str | torch.device = "auto",
) -> Panel:
    """Return a layer's panel with its measures.

    Parameters
    ----------
    layer, rows, embedding
        Name of the layer, its activations and what they were embedded to.
    targets
        As the task has them: int64 classes (n_samples,) with -1 for a sample without a label, float64 values
        (n_samples,) with NaN for one without a value, or bool label sets (n_samples, n_labels). None: no measures of
        labels or values.
    task
        "classification", "regression", "multilabel", or None where there are no targets.
    shape, kind
        Shape of one sample's activation and kind of the layer, for the caption.
    peer
        Rows of the other network's layer at the same relative depth, for CKA.
    device
        Where the measures are computed.
    """
    trust = cka = None
    of_task: Measures = {}
    if targets is not None and task is not None:
        of_task = _TASK_MEASURES[task](rows, embedding.neighbors[:, :N_VOTES], targets, device)
    # A row without a neighbour under the reducer's metric is NaN in the plane.
    embedded = np.isfinite(embedding.Z).all(axis=1)
    # Trustworthiness is defined for k < n / 2.
    k = min(N_NEIGHBORS, (int(embedded.sum()) - 1) // 2)
    if k > 0:
        compared = rows if embedded.all() else rows[embedded]
        trust = metrics.trustworthiness(compared, embedding.Z[embedded], k, sample=MEASURED, device=device)
    if peer is not None:
        some = np.random.default_rng(0).permutation(len(rows))[:MEASURED]
        cka = metrics.linear_cka(rows[some], peer[some], device=device)
    return Panel(
        layer=layer,
        Z=embedding.Z,
        neighbors=embedding.neighbors[:, :SHOWN_NEIGHBORS],
        trustworthiness=trust,
        cka=cka,
        kind=kind,
        shape=shape,
        **of_task,
    )


def _class_measures(
    rows: CheckedRows, voters: NDArray[Any], targets: NDArray[np.int64], device: str | torch.device
) -> Measures:
    """Measure how a layer separates classes, by the samples that have a label."""
    labelled = targets >= 0
    n = int(np.count_nonzero(labelled))
    probe = None
    if n >= 2:
        used = rows if n == len(rows) else rows[labelled]
        probe = metrics.linear_probe_accuracy(used, targets[labelled], folds=min(_FOLDS, n), device=device)
    return {"purity": same_label_share(voters, targets), "probe_accuracy": probe}


def _value_measures(
    rows: CheckedRows, voters: NDArray[Any], values: NDArray[np.float64], device: str | torch.device
) -> Measures:
    """Measure how a layer orders values, by the samples that have one."""
    n = int(np.count_nonzero(~np.isnan(values)))
    probe = None
    if n >= 2:
        probe = metrics.linear_probe_r2(rows, values, folds=min(_FOLDS, n), device=device)
    return {"neighbor_r2": r2(values, neighbor_means(voters, values)), "probe_r2": probe}


def _label_set_measures(
    rows: CheckedRows, voters: NDArray[Any], label_sets: NDArray[np.bool_], device: str | torch.device
) -> Measures:
    """Measure how a layer separates sets of labels."""
    probe = None
    if len(rows) >= 2:
        probe = metrics.linear_probe_label_accuracy(rows, label_sets, folds=min(_FOLDS, len(rows)), device=device)
    return {"purity": mean_jaccard(voters, label_sets), "probe_accuracy": probe}


_TASK_MEASURES: dict[str, Callable[..., Measures]] = {
    "classification": _class_measures,
    "regression": _value_measures,
    "multilabel": _label_set_measures,
}


@dataclass(frozen=True)
class Composed:
    """What a page shows, and where it comes from.

    Parameters
    ----------
    data
        The page's data: all samples or, of too many, a part of them.
    rows
        Row among all samples of every sample of `data`, ascending.
    corner_cases
        The corner cases by rows among all samples.
    """

    data: PageData
    rows: NDArray[np.int64]
    corner_cases: Sequence[CornerCase]


def compose(
    draft: PageData,
    read_rows: ReadRows,
    *,
    corner_cases: Sequence[CornerCase] | None = None,
    device: str | torch.device = "auto",
    max_samples: int = MAX_SAMPLES,
) -> Composed:
    """Complete a page's data: its corner cases and, of too many samples, the part that a page shows.

    Measures and corner cases are those of all samples. Where a part is shown, the neighbours are searched again among
    that part, so that the page can show every one of them.

    Parameters
    ----------
    draft
        The page's data with all samples and without corner cases.
    read_rows
        Returns the rows of one of `draft.panels`; it is called only for layers whose rows are needed.
    corner_cases
        Cases that are known already. None: they are searched for.
    device, max_samples
        Where neighbours are searched, and how many samples a page shows.
    """
    cases = _find_cases(draft, read_rows) if corner_cases is None else corner_cases
    data = replace(draft, corner_cases=cases)
    rows = shown_rows(data, max_samples)
    if len(rows) < data.n_samples:
        panels = [_with_neighbors_among(rows, panel, k, read_rows, device) for k, panel in enumerate(data.panels)]
        data = only_rows(data.with_panels(panels), rows)
    return Composed(data, rows, cases)


def _with_neighbors_among(
    rows: NDArray[np.int64], panel: Panel, number: int, read_rows: ReadRows, device: str | torch.device
) -> Panel:
    """Return the panel with neighbours of the samples `rows` that are themselves among them."""
    if panel.neighbors is None or len(rows) < 2:
        return panel
    k = min(panel.neighbors.shape[1], len(rows) - 1)
    found, _ = knn(read_rows(number)[rows], k, device=device)  # positions in `rows`, (len(rows), k)
    near = panel.neighbors[:, :k].copy()
    near[rows] = rows[found]
    return replace(panel, neighbors=near)


def _find_cases(data: PageData, read_rows: ReadRows) -> Sequence[CornerCase]:
    """Return the corner cases of all networks that predict what the samples' targets are; none without targets."""
    truth = _truth(data)
    predictions = {} if truth is None else _predictions(data, truth)
    if truth is None or not predictions:
        return []
    numbers = {id(panel): number for number, panel in enumerate(data.panels)}
    evidence: dict[str, dict[str, CheckedRows]] = {}
    neighbors: dict[str, dict[str, NDArray[Any]]] = {}
    shown = shown_neighbors(data)
    for network in data.networks:
        if network.name not in predictions:
            continue
        panels = {panel.layer: panel for panel in journey(data, network) if panel.neighbors is not None}
        # The output repeats the predictions, so it is no evidence on a target.
        output = network.panels[-1].layer
        informative = informative_layers({layer: panel.shape for layer, panel in panels.items() if layer != output})
        # Of classes, the votes in every layer count, with the neighbours that the page shows: a reason must not
        # contradict the journey beside it.
        voting = panels if truth.task == "classification" else informative
        neighbors[network.name] = {layer: np.asarray(panels[layer].neighbors)[:, :shown] for layer in voting}
        # Label sets are compared with those of the neighbours alone.
        read = [] if truth.task == "multilabel" else informative
        evidence[network.name] = {layer: read_rows(numbers[id(panels[layer])]) for layer in read}
    return search(predictions, truth, evidence, neighbors=neighbors)


def _truth(data: PageData) -> Targets | None:
    """Return what the networks should predict; None if no sample has a target."""
    names = tuple(data.class_names)
    if data.targets is not None and (data.targets >= 0).any():
        return Targets("classification", data.targets, names)
    if data.values is not None and np.isfinite(data.values).any():
        return Targets("regression", data.values)
    if data.label_sets is not None:
        return Targets("multilabel", data.label_sets, names)
    return None


def _predictions(data: PageData, truth: Targets) -> dict[str, NDArray[Any]]:
    """Return by name the predictions of the networks that can predict every target."""
    if truth.task == "regression":
        return {network.name: network.values for network in data.networks if network.values is not None}
    # A label that a network cannot predict would make all of its samples errors.
    needed = truth.values.shape[1] if truth.task == "multilabel" else int(truth.values.max()) + 1
    tables = {}
    for network in data.networks:
        table = network.probabilities
        if table is not None and table.shape[1] >= needed:
            tables[network.name] = table
    # Networks may have more classes than the samples: a class that one lacks has the probability 0.
    widest = max((table.shape[1] for table in tables.values()), default=0)
    return {name: _widened(table, widest) for name, table in tables.items()}


def _widened(table: NDArray[Any], width: int) -> NDArray[Any]:
    """Return a table (n, k) with columns of 0 behind its own, (n, width)."""
    if table.shape[1] == width:
        return table
    return np.pad(table, ((0, 0), (0, width - table.shape[1])))
