"""The sentences and numbers of the page, all computed from its data."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
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


def settling(data: PageData, network: Network) -> NDArray[np.int64] | None:
    """Return the step of its journey from which each sample's vote stays right; None if a layer has no vote.

    Steps count from 0, the first panel of `journey`; the number of steps means never, and one more that the sample has
    no label. Without targets the input has no
    vote, because its neighbours' labels would be predictions of one of the networks; no sample settles there.
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


def biggest_step(data: PageData, network: Network) -> str:
    """Return a sentence on the layer that raises the measure of neighbourhoods most; "" if it is unknown.

    It is the purity, the overlap of label sets in a multi-label task, and R² of the neighbours in a regression.
    """
    panels = journey(data, network)
    form, what, most = ".1%", "the purity", "separates most at {}: purity"
    values = [panel.purity for panel in panels]
    if data.task == "multilabel":
        what, most = "the overlap of neighbours’ labels", "overlap of neighbours’ labels rises most at {}:"
    if data.task == "regression":
        form, what, most = ".2f", "R² of the neighbours", "R² of the neighbours rises most at {}:"
        values = [panel.neighbor_r2 for panel in panels]
    known = [(panel.layer, value) for panel, value in zip(panels, values, strict=True) if value is not None]
    if len(known) < 2:
        return ""
    best_rise, sentence = 0.0, f"no layer raises {what}"
    for (_, before), (layer, after) in pairwise(known):
        if after - before > best_rise:
            best_rise = after - before
            # Not `format` alone: a layer's name may contain braces.
            start, end = most.split("{}")
            sentence = f"{start}{layer}{end} {before:{form}} → {after:{form}}"
    return sentence


def count_missing(panel: Panel) -> int:
    """Return how many samples are not drawn in this panel, because their coordinates are NaN or infinite."""
    return int(np.count_nonzero(~np.isfinite(panel.Z).all(axis=1)))
