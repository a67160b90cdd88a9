"""The sentences and numbers of the page, all computed from its data."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

from torchviz_layers._common.votes import prediction_depth, vote_winners
from torchviz_layers.page.records import Network, PageData, Panel, shortened

SHOWN_NEIGHBORS = 8
MAX_NAME = 40  # letters of a network's name in the headline

# A part of the headline: its text and, if a click on it selects samples, the name of their subset.
Segment = tuple[str, str | None]


@dataclass(frozen=True)
class Subset:
    """Samples that a reader may want to see alone: a name for the script, a label, and the samples as a mask."""

    name: str
    label: str
    mask: NDArray[np.bool_]

    @property
    def count(self) -> int:
        """Number of samples in it."""
        return int(np.count_nonzero(self.mask))


def votes(neighbors: NDArray[np.integer[Any]], labels: NDArray[np.int64], n_classes: int) -> NDArray[np.int64]:
    """Return the label that most of each sample's shown neighbours have, of shape (n_samples,).

    Ties go to the class of the nearer neighbour.

    Parameters
    ----------
    neighbors
        Rows of the neighbours, nearest first, of shape (n_samples, k); the first 8 vote.
    labels
        Label of every sample, of shape (n_samples,).
    n_classes
        Number of classes.
    """
    return vote_winners(neighbors[:, :SHOWN_NEIGHBORS], labels, n_classes)


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
    return votes(panel.neighbors, labels, data.n_classes)


def settling(data: PageData, network: Network) -> NDArray[np.int64] | None:
    """Return the step of its journey from which each sample's vote stays right; None if a layer has no vote.

    Steps count from 0, the first panel of `journey`; the number of steps means never. Without targets the input has no
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
    return skipped + prediction_depth(np.stack(known), labels)


def subsets(data: PageData) -> list[Subset]:
    """Return the subsets that have a button: errors of a network, of both or of one alone, and differences."""
    predictions = data.predictions
    if len(predictions) < len(data.networks):
        return []
    # `differ` needs no targets, the others do.
    two = len(predictions) == 2
    differ = [Subset("differ", "They differ", np.not_equal(*predictions))] if two else []
    if data.targets is None:
        return differ
    if not two:
        return [Subset("wrong-0", "Errors only", predictions[0] != data.targets)]
    first, second = data.networks[0].name, data.networks[1].name
    first_wrong, second_wrong = predictions[0] != data.targets, predictions[1] != data.targets
    return [
        Subset("wrong-0", f"{first} wrong", first_wrong),
        Subset("wrong-1", f"{second} wrong", second_wrong),
        *differ,
        Subset("both-wrong", "Both wrong", first_wrong & second_wrong),
        Subset("only-0", f"Only {first} wrong", first_wrong & ~second_wrong),
        Subset("only-1", f"Only {second} wrong", second_wrong & ~first_wrong),
    ]


def headline(data: PageData, subsets: Sequence[Subset]) -> list[Segment]:
    """Return the page's first sentence, in parts: how many samples the networks misclassify."""
    # The subsets depend on what is known; without any there is nothing to say about errors.
    count = {subset.name: subset.count for subset in subsets}
    names = [shortened(network.name, MAX_NAME) for network in data.networks]
    n = data.count_of_all or data.n_samples
    if not subsets:
        layers = sum(len(network.panels) for network in data.networks)
        return [(f"{counted('sample', n)} through {counted('layer', layers)} of {' and '.join(names)}.", None)]
    if data.targets is None:
        return [
            (f"{names[0]} and {names[1]} differ on ", None),
            (f"{count['differ']:,}", "differ"),
            (f" of {counted('sample', n)}.", None),
        ]
    if len(names) == 1:
        return _headline_of_one(names[0], n, count["wrong-0"])
    return _headline_of_two(names, n, count)


def _headline_of_one(name: str, n: int, wrong: int) -> list[Segment]:
    if not wrong:
        return [(f"{name} classifies {_all(n)} correctly.", None)]
    verb = "is" if wrong == 1 else "are"
    return [
        (f"{name} classifies {n - wrong:,} of {n:,} correctly; ", None),
        (f"{wrong:,}", "wrong-0"),
        (f" {verb} wrong.", None),
    ]


def _headline_of_two(names: list[str], n: int, count: dict[str, int]) -> list[Segment]:
    if not count["wrong-0"] and not count["wrong-1"]:
        return [(f"{names[0]} and {names[1]} classify {_all(n)} correctly.", None)]
    # The network with fewer errors is the subject of the sentence.
    good, poor = 1, 0
    if count["wrong-0"] < count["wrong-1"]:
        good, poor = 0, 1
    segments: list[Segment] = [
        (f"{names[good]} corrects ", None),
        (f"{count[f'only-{poor}']:,}", f"only-{poor}"),
        (f" of {names[poor]}’s ", None),
        (f"{count[f'wrong-{poor}']:,}", f"wrong-{poor}"),
        (f" {_plural('error', count[f'wrong-{poor}'])}", None),
    ]
    if count[f"only-{good}"]:
        segments += [(" and makes ", None), (f"{count[f'only-{good}']:,}", f"only-{good}"), (" of its own", None)]
    if not count["both-wrong"]:
        return [*segments, ("; they have none in common.", None)]
    return [*segments, ("; both misclassify ", None), (f"{count['both-wrong']:,}", "both-wrong"), (".", None)]


def counted(noun: str, count: int) -> str:
    """Return a number with its noun: "1 sample", "2,000 samples"."""
    return f"{count:,} {_plural(noun, count)}"


def _all(n: int) -> str:
    return "the one sample" if n == 1 else f"all {n:,} samples"


def _plural(noun: str, count: int) -> str:
    if count == 1:
        return noun
    return noun + ("es" if noun.endswith("s") else "s")


def biggest_step(data: PageData, network: Network) -> str:
    """Return a sentence on the layer that raises the purity of neighbourhoods most; "" if purity is unknown."""
    known = [(panel.layer, panel.purity) for panel in journey(data, network) if panel.purity is not None]
    if len(known) < 2:
        return ""
    best_rise, sentence = 0.0, "no layer raises the purity"
    for (_, before), (layer, after) in pairwise(known):
        if after - before > best_rise:
            best_rise = after - before
            sentence = f"separates most at {layer}: purity {before:.1%} → {after:.1%}"
    return sentence


def count_missing(panel: Panel) -> int:
    """Return how many samples are not drawn in this panel, because their coordinates are NaN or infinite."""
    return int(np.count_nonzero(~np.isfinite(panel.Z).all(axis=1)))
