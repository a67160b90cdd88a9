"""The sentences and numbers of the page, all computed from its data."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from torchviz_layers._common.votes import prediction_depth, vote_winners
from torchviz_layers.page.records import Network, PageData, Panel

SHOWN_NEIGHBORS = 8
# Of more networks the page shows fewer neighbours: all of them would be most of its size.
MANY_NETWORKS, FEWER_NEIGHBORS = 6, 5


def votes(
    neighbors: NDArray[np.integer[Any]], labels: NDArray[np.int64], n_classes: int, shown: int = SHOWN_NEIGHBORS
) -> NDArray[np.int64]:
    """Return the label that most of each sample's shown neighbours have, of shape (n_samples,).

    Ties go to the class of the nearer neighbour. Unlabelled neighbours (-1) do not vote; without any other the vote
    is -1.

    Parameters
    ----------
    neighbors
        Rows of the neighbours, nearest first, of shape (n_samples, k); the first `shown` vote.
    labels
        Label of every sample, of shape (n_samples,).
    n_classes
        Number of classes.
    shown
        How many neighbours the page shows.
    """
    return vote_winners(neighbors[:, :shown], labels, n_classes)


def journey(data: PageData, network: Network) -> tuple[Panel, ...]:
    """Return the panels of a sample's way through one network, the input first."""
    if data.input_panel is None:
        return network.panels
    return (data.input_panel, *network.panels)


def panel_votes(data: PageData, panel: Panel) -> NDArray[np.int64] | None:
    """Return the votes of each sample's neighbours in one panel; None if neighbours or labels are unknown."""
    # Without targets, the labels are the predictions of the network that the panel belongs to.
    owner = None
    for network in data.networks:
        if any(panel is own for own in network.panels):
            owner = network
    labels = data.labels(owner)
    if labels is None or panel.neighbors is None:
        return None
    return votes(panel.neighbors, labels, data.n_classes, shown_neighbors(data))


def right_from(data: PageData, network: Network) -> NDArray[np.int64] | None:
    """Return the step of its journey from which each sample's vote stays right; None if a layer has no vote.

    Steps count from 0, the first panel of `journey`; the number of steps means that the vote of the last is
    not right, and one more that the sample has no label. Without targets, right is the network's prediction, and the
    input has no vote, because its neighbours' labels would be predictions of one of the networks.
    """
    # None stands for a panel without a vote.
    labels = data.labels(network)
    of_steps = [panel_votes(data, panel) for panel in journey(data, network)]
    of_layers = of_steps[len(of_steps) - len(network.panels) :]
    known = [votes for votes in of_steps if votes is not None]
    if labels is None or not known or any(votes is None for votes in of_layers):
        return None
    skipped = len(of_steps) - len(known)  # 1 if the input has no vote
    depth = skipped + prediction_depth(np.stack(known), labels)
    return np.where(labels < 0, len(of_steps) + 1, depth)


def shown_neighbors(data: PageData) -> int:
    """Return how many neighbours of a sample the page shows, which are those that vote."""
    return SHOWN_NEIGHBORS if len(data.networks) <= MANY_NETWORKS else FEWER_NEIGHBORS


def joined(names: Sequence[str]) -> str:
    """Return names as a list in a sentence: "a, b and c"."""
    if len(names) < 2:
        return "".join(names)
    return f"{', '.join(names[:-1])} and {names[-1]}"


def probe_of(data: PageData, panel: Panel) -> float | None:
    """Return what a linear probe reaches on a layer: its accuracy or, of a regression, R²."""
    return panel.probe_r2 if data.task == "regression" else panel.probe_accuracy


def closeness_of(data: PageData, panel: Panel) -> float | None:
    """Return how alike neighbours in a layer are: purity, overlap of label sets or, of a regression, R²."""
    return panel.neighbor_r2 if data.task == "regression" else panel.purity


def main_measure(data: PageData, panel: Panel) -> float | None:
    """Return what layers are ranked by: the probe or, without one, the neighbours."""
    probe = probe_of(data, panel)
    return closeness_of(data, panel) if probe is None else probe


def best_layer(data: PageData, network: Network) -> Panel | None:
    """Return a network's best layer by its linear probe; without any probe, by its neighbours. Of equals the first."""
    for measure in (probe_of, closeness_of):
        best = _highest(data, network, measure)
        if best is not None:
            return best
    return None


def _highest(data: PageData, network: Network, measure: Callable[[PageData, Panel], float | None]) -> Panel | None:
    best, most = None, -np.inf
    for panel in network.panels:
        value = measure(data, panel)
        if value is not None and value > most:
            best, most = panel, value
    return best


def measured(data: PageData, panel: Panel) -> str:
    """Return what is known of a layer: "probe 98.6%, purity 98.6%"."""
    parts = [
        f"{name} {_written(data, value)}"
        for name, value in zip(
            _names_of_measures(data), (probe_of(data, panel), closeness_of(data, panel)), strict=True
        )
        if value is not None
    ]
    return ", ".join(parts)


def meaning_of_measures(data: PageData) -> str:
    """Return what the two measures mean, in sentences."""
    if data.task == "regression":
        return (
            "R² of probe: how well a linear regression on the layer’s activations predicts the value, at most 1. "
            "R² of neighbours: how well the mean value of a sample’s nearest neighbours does."
        )
    if data.task == "multilabel":
        return (
            "Probe: accuracy of a linear classifier on the layer’s activations, averaged over the labels. "
            "Overlap: how far a sample’s labels are those of its nearest neighbours."
        )
    return (
        "Probe: accuracy of a linear classifier on the layer’s activations. "
        "Purity: mean share of a sample’s nearest neighbours in the layer that have its class."
    )


def best_layers(data: PageData, network: Network) -> str:
    """Return a network's best layers: "best by probe: a (98.6%), by purity: b (98.8%)".

    "" if no layer is measured, or if there is but one.
    """
    if len(network.panels) < 2:
        return ""
    best: dict[str, tuple[list[str], list[str]]] = {}  # names of measures and values, by layer
    for name, measure in zip(_names_of_measures(data), (probe_of, closeness_of), strict=True):
        panel = _highest(data, network, measure)
        if panel is not None:
            names, values = best.setdefault(panel.layer, ([], []))
            names.append(name)
            values.append(_written(data, measure(data, panel) or 0.0))
    parts = [f"by {joined(names)}: {layer} ({', '.join(values)})" for layer, (names, values) in best.items()]
    return f"best {', '.join(parts)}" if parts else ""


def _names_of_measures(data: PageData) -> tuple[str, str]:
    if data.task == "regression":
        return "R² of probe", "R² of neighbours"
    return "probe", "overlap" if data.task == "multilabel" else "purity"


def _written(data: PageData, value: float) -> str:
    return f"{value:.2f}".replace("-", "−") if data.task == "regression" else f"{value:.1%}"


def count_missing(panel: Panel) -> int:
    """Return how many samples are not drawn in this panel, because their coordinates are NaN or infinite."""
    return int(np.count_nonzero(~np.isfinite(panel.Z).all(axis=1)))
