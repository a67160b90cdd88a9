"""What the page says: computed from the records, so that no sentence on it can be false."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

from torchviz_layers._common.votes import prediction_depth, vote_winners
from torchviz_layers.page.records import Network, PageData, Panel

SHOWN_NEIGHBORS = 8

# A piece of the headline: its text and, where a click on it shows those samples, the name of the subset.
Segment = tuple[str, str | None]


@dataclass(frozen=True)
class Subset:
    """Samples that a reader may want to see alone: a name for links, a label, and its rows as a mask."""

    name: str
    label: str
    mask: NDArray[np.bool_]

    @property
    def count(self) -> int:
        """Number of samples in it."""
        return int(np.count_nonzero(self.mask))


def votes(neighbors: NDArray[np.integer[Any]], labels: NDArray[np.int64], n_classes: int) -> NDArray[np.int64]:
    """Return the label that most of each sample's shown neighbours carry, of shape (n_samples,).

    Ties go to the class of the nearest.

    Parameters
    ----------
    neighbors
        Rows of the neighbours, nearest first, of shape (n_samples, k); the first 8 vote.
    labels
        Label of every row, of shape (n_samples,).
    n_classes
        Number of classes.
    """
    return vote_winners(neighbors[:, :SHOWN_NEIGHBORS], labels, n_classes)


def journey(data: PageData, network: Network) -> tuple[Panel, ...]:
    """Return the panels that a sample passes on its way through one network, the input first."""
    return (() if data.input_panel is None else (data.input_panel,)) + network.panels


def panel_votes(data: PageData, panel: Panel) -> NDArray[np.int64] | None:
    """Return what each sample's neighbours in one panel vote; None where neighbours or labels are unknown."""
    owner = next((network for network in data.networks if any(panel is own for own in network.panels)), None)
    labels = data.labels(owner)
    if labels is None or panel.neighbors is None:
        return None
    return votes(panel.neighbors, labels, data.n_classes)


def settling(data: PageData, network: Network) -> NDArray[np.int64] | None:
    """Return from which step of its journey each sample's vote stays right; None where a layer has no vote.

    The steps are those of `journey`, and their number stands for never. An input that has no vote (without targets its
    neighbours' labels would be a network's own answers) is a step at which nothing settles.
    """
    found = [panel_votes(data, panel) for panel in journey(data, network)]
    known = [vote for vote in found if vote is not None]
    skipped = len(found) - len(known)
    labels = data.labels(network)
    if labels is None or not known or any(vote is None for vote in found[-len(network.panels) :]):
        return None
    return skipped + prediction_depth(np.stack(known), labels)


def subsets(data: PageData) -> list[Subset]:
    """Return the subsets worth a button: who is wrong, who differs, what was mended."""
    names = [network.name for network in data.networks]
    predictions = [network.predictions for network in data.networks if network.predictions is not None]
    if len(predictions) < len(names):
        return []
    if data.targets is None:
        return [Subset("differ", "They differ", np.not_equal(*predictions))] if len(names) == 2 else []
    wrong = [np.not_equal(prediction, data.targets) for prediction in predictions]
    if len(names) == 1:
        return [Subset("wrong-0", "Errors only", wrong[0])]
    return [
        Subset("wrong-0", f"{names[0]} wrong", wrong[0]),
        Subset("wrong-1", f"{names[1]} wrong", wrong[1]),
        Subset("differ", "They differ", np.not_equal(*predictions)),
        Subset("both-wrong", "Both wrong", wrong[0] & wrong[1]),
        Subset("only-0", f"Only {names[0]} wrong", wrong[0] & ~wrong[1]),
        Subset("only-1", f"Only {names[1]} wrong", wrong[1] & ~wrong[0]),
    ]


def headline(data: PageData, groups: list[Subset]) -> list[Segment]:
    """Return the page's first sentence, in pieces: what the numbers say about the networks."""
    count = {group.name: group.count for group in groups}
    names = [_shortened(network.name) for network in data.networks]
    n = data.count_of_all or data.n_samples
    if not groups:
        layers = sum(len(network.panels) for network in data.networks)
        return [
            (
                f"{counted('sample', n)} through {counted('layer', layers)} of {' and '.join(names)}.",
                None,
            )
        ]
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
        return [(f"{name} is right on {_all(n)}.", None)]
    verb = "defeats" if wrong == 1 else "defeat"
    return [(f"{name} reads {n - wrong:,} of {n:,} right; ", None), (f"{wrong:,}", "wrong-0"), (f" {verb} it.", None)]


def _headline_of_two(names: list[str], n: int, count: dict[str, int]) -> list[Segment]:
    if not count["wrong-0"] and not count["wrong-1"]:
        return [(f"{names[0]} and {names[1]} are right on {_all(n)}.", None)]
    # The network with fewer errors is the subject of the sentence.
    good, poor = (0, 1) if count["wrong-0"] < count["wrong-1"] else (1, 0)
    segments: list[Segment] = [
        (f"{names[good]} mends ", None),
        (f"{count[f'only-{poor}']:,}", f"only-{poor}"),
        (f" of {names[poor]}’s ", None),
        (f"{count[f'wrong-{poor}']:,}", f"wrong-{poor}"),
        (f" {_plural('error', count[f'wrong-{poor}'])}", None),
    ]
    if count[f"only-{good}"]:
        segments += [(" and makes ", None), (f"{count[f'only-{good}']:,}", f"only-{good}"), (" of its own", None)]
    if not count["both-wrong"]:
        return [*segments, ("; none defeats both.", None)]
    verb = "defeats" if count["both-wrong"] == 1 else "defeat"
    return [*segments, ("; ", None), (f"{count['both-wrong']:,}", "both-wrong"), (f" {verb} both.", None)]


def _shortened(name: str, longest: int = 40) -> str:
    return name if len(name) <= longest else name[: longest - 1] + "…"


def counted(word: str, count: int) -> str:
    """Return a number of things in words: "1 sample", "2,000 samples"."""
    return f"{count:,} {_plural(word, count)}"


def _all(n: int) -> str:
    return "the one sample" if n == 1 else f"all {n:,} samples"


def _plural(word: str, count: int) -> str:
    if count == 1:
        return word
    return f"{word}es" if word.endswith("s") else f"{word}s"


def biggest_step(data: PageData, network: Network) -> str:
    """Return between which two layers a network's neighbourhoods become purer the most; "" if unknown."""
    known = [(panel.layer, panel.purity) for panel in journey(data, network) if panel.purity is not None]
    rises = [(after[1] - before[1], before, after) for before, after in pairwise(known)]
    if not rises:
        return ""
    rise, before, after = max(rises, key=lambda step: step[0])
    if rise <= 0:
        return "no layer raises purity"
    return f"separates most at {after[0]}: purity {before[1]:.1%} → {after[1]:.1%}"


def unplaced(panel: Panel) -> int:
    """Return how many samples have no place in this panel's plane (NaN or infinity)."""
    return int(np.count_nonzero(~np.isfinite(panel.Z).all(axis=1)))
