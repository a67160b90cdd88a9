"""The answer cards at the top of the page: which layer is best, and which two classes are confused most."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from torchviz_layers.page import summaries
from torchviz_layers.page.outcomes import errors_of
from torchviz_layers.page.records import Network, PageData, Panel, shortened

CARDS_OF_EACH = 2  # up to so many networks, each one's best layer and its most confused pair have a card
MAX_NAME = 24  # letters of a class, layer or network in a card


def answers(data: PageData) -> list[dict[str, Any]]:
    """Return the cards as JSON can contain them.

    Each has `text`, `title` (what its words mean), `stage` (the panel that a click enlarges) and, of two classes,
    `why`: the network, the true class and the class that it predicts.
    """
    cards = [_card_of_best(data, network, panel) for network, panel in _best_layers(data)]
    return [*cards, *(_card_of_pair(data, *pair) for pair in confused_pairs(data))]


def confused_pairs(data: PageData) -> list[tuple[int, int, int, int]]:
    """Return, for each network, its number, the two classes that it confuses most, and how often.

    The classes are the true one and the predicted one. A network without errors has no pair; of more than two networks
    the one with most errors has the only one.
    """
    if data.task != "classification" or data.targets is None:
        return []
    errors = [int(np.count_nonzero(errors_of(data, network))) for network in data.networks]
    few = len(data.networks) <= CARDS_OF_EACH
    numbers = range(len(data.networks)) if few else [int(np.argmax(errors))]
    pairs = [(number, _most_confused(data, number)) for number in numbers if errors[number]]
    return [(number, *pair) for number, pair in pairs if pair is not None]


def _most_confused(data: PageData, number: int) -> tuple[int, int, int] | None:
    """Return the true class and the prediction of most of a network's errors, and of how many."""
    predictions = data.networks[number].predictions
    if predictions is None or data.targets is None:
        return None
    wrong = errors_of(data, data.networks[number])
    codes = data.targets[wrong] * data.n_classes + predictions[wrong]
    pairs, counts = np.unique(codes, return_counts=True)
    given, predicted = divmod(int(pairs[np.argmax(counts)]), data.n_classes)
    return given, predicted, int(counts.max())


def share_of_given(
    data: PageData, panel: Panel, samples: NDArray[np.bool_], given: int, predicted: int
) -> float | None:
    """Return the share of samples' shown neighbours that have the true class, of those that have either class.

    It is averaged over the samples that have such neighbours; None if none has.
    """
    if panel.neighbors is None or data.targets is None:
        return None
    near = data.targets[panel.neighbors[samples, : summaries.shown_neighbors(data)]]  # (n_errors, k)
    of_given, of_either = (near == given).sum(axis=1), np.isin(near, (given, predicted)).sum(axis=1)
    known = of_either > 0
    if not known.any():
        return None
    return float(np.mean(of_given[known] / of_either[known]))


def _best_layers(data: PageData) -> list[tuple[Network, Panel]]:
    found = []
    for network in data.networks:
        best = summaries.best_layer(data, network)
        if best is not None:
            found.append((network, best))
    if len(data.networks) <= CARDS_OF_EACH:
        return found
    # Of many networks a card each would fill the row: the best of all.
    ranked = sorted(found, key=lambda pair: -(summaries.main_measure(data, pair[1]) or 0.0))
    by_probe = [pair for pair in ranked if summaries.probe_of(data, pair[1]) is not None]
    return (by_probe or ranked)[:1]


def _card_of_best(data: PageData, network: Network, panel: Panel) -> dict[str, Any]:
    layer = shortened(panel.layer, MAX_NAME)
    owner = f" of {shortened(network.name, MAX_NAME)}" if len(data.networks) > 1 else ""
    figures = summaries.measured(data, panel)
    return {
        # The card has room for the first of the measures; its title has all.
        "text": f"Best layer: {layer}{owner} ({figures.partition(',')[0]})",
        "title": (
            f"{panel.layer} of {network.name}: {figures}. {summaries.meaning_of_measures(data)} "
            "Click to enlarge this layer."
        ),
        "stage": _number_of(data, panel),
        "why": None,
    }


def _card_of_pair(data: PageData, number: int, given: int, predicted: int, count: int) -> dict[str, Any]:
    network = data.networks[number]
    assert data.targets is not None
    samples = errors_of(data, network) & (data.targets == given) & (network.predictions == predicted)
    right, wrong = (shortened(data.names_of_classes[code], MAX_NAME) for code in (given, predicted))
    reader = f" by {shortened(network.name, MAX_NAME)}" if len(data.networks) > 1 else ""
    turn, panel = _turn(data, network, samples, given, predicted)
    errors = "1 error" if count == 1 else f"{count:,} errors"
    return {
        "text": f"{right} read as {wrong}{reader}: {errors}{turn}",
        "title": (
            f"The true class and the prediction that {network.name} confuses most. Apart: of these samples’ nearest "
            f"neighbours that are {right} or {wrong}, most are {right}; merged: most are {wrong}. Click to see why."
        ),
        "stage": _number_of(data, panel),
        "why": {"network": number, "given": given, "predicted": predicted},
    }


def _turn(
    data: PageData,
    network: Network,
    samples: NDArray[np.bool_],
    given: int,
    predicted: int,
) -> tuple[str, Panel]:
    """Return from which layer on the neighbours of confused samples have the predicted class, and the layer to show."""
    last = network.panels[-1]
    shares = [
        (panel, share_of_given(data, panel, samples, given, predicted)) for panel in summaries.journey(data, network)
    ]
    known = [(panel, share) for panel, share in shares if share is not None]
    if not known:
        return "", last
    apart = [step for step, (_, share) in enumerate(known) if share >= 0.5]
    names = [shortened(panel.layer, MAX_NAME) for panel, _ in known]
    if not apart:
        return f", merged from {names[0]} on", last
    turn = apart[-1] + 1
    if turn == len(known):
        return ", apart in every layer" if len(apart) == turn else ", apart at the end", last
    if turn == 1:
        where = "apart in"
    else:
        # In a layer before they may have been merged, too.
        where = "apart up to" if len(apart) == turn else "last apart in"
    return f", {where} {names[turn - 1]}, merged from {names[turn]} on", known[turn][0]


def _number_of(data: PageData, panel: Panel) -> int:
    """Return a panel's number on the page. By identity: comparing arrays would be slow."""
    return next(k for k, other in enumerate(data.panels) if other is panel)
