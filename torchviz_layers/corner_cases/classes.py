"""Corner cases of networks that classify."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np

from torchviz_layers._common.arrays import Array
from torchviz_layers.corner_cases.cases import CornerCase
from torchviz_layers.corner_cases.evidence import Evidence, Supports
from torchviz_layers.corner_cases.label_support import TINY, probability_wrong
from torchviz_layers.corner_cases.verdicts import Verdicts, listed

LABEL_SUSPECT = "label suspect"
CHANGES_LATE = "changes at the end"
ENDS_WRONG = "changes and ends wrong"
ISOLATED = "confident but isolated"

_CONFIDENT = 0.9
_SHORTLIST = 4  # times the limit: so many suspects get the expensive score


def cases_of_classes(
    networks: Sequence[Evidence], labels: Array, names: Sequence[str], limit: int
) -> Iterator[CornerCase]:
    """Find the corner cases of one or several networks, kind by kind.

    Parameters
    ----------
    networks
        What is known of each network.
    labels
        The given labels (n,), -1 for a sample without one; it is no case of a kind that a label makes.
    names
        Names of all classes.
    limit
        Number of cases of a kind that are wanted; more may be found.
    """
    yield from _label_suspects(networks, labels, names, limit)
    yield from _verdicts(networks, labels, names).cases()
    for find in (_late_changes, _wrong_ends, _isolated):
        for network in networks:
            if network.layers.neighbors:
                yield from find(network, labels, names)


def _label_suspects(
    networks: Sequence[Evidence], labels: Array, names: Sequence[str], limit: int
) -> Iterator[CornerCase]:
    """Find samples whose label all networks contradict with the same prediction."""
    predictions = np.stack([network.predicted for network in networks])  # (n_networks, n)
    known = (predictions >= 0).all(axis=0) & (labels >= 0)
    agreed = (predictions == predictions[0]).all(axis=0)
    suspects = np.flatnonzero(known & agreed & (predictions[0] != labels))
    # The networks' own probabilities are known, the combined ones are expensive: those are computed only for a
    # shortlist of the labels that the networks think least probable.
    own = np.mean([network.probabilities[suspects, labels[suspects]] for network in networks], axis=0)
    shortlist = np.sort(suspects[np.argsort(own, kind="stable")[: _SHORTLIST * limit]])
    if not len(shortlist):
        return
    supports: Supports = {}
    given, proposed = labels[shortlist], predictions[0, shortlist]
    combined = _mean_probability(networks, shortlist, given, supports)
    rival = _mean_probability(networks, shortlist, proposed, supports)
    who = listed([network.name for network in networks])
    verb = "predicts" if len(networks) == 1 else "predict"
    share = _share_of_all(networks, predictions[0])  # of the predicted label among the neighbours, (n,)
    neighbors = _neighbors(labels)
    wrong = probability_wrong(combined, rival, share[shortlist])
    for number, (row, probability) in enumerate(zip(shortlist.tolist(), combined, strict=True)):
        predicted = names[predictions[0, row]]
        reason = f"labelled {names[labels[row]]}, but {who} {verb} {predicted}"
        if np.isfinite(share[row]):
            reason += f", and {share[row]:.0%} of its {neighbors} are labelled {predicted}"
        yield CornerCase(
            LABEL_SUSPECT,
            row,
            float(-np.log10(max(probability, TINY))),
            reason,
            probability=float(wrong[number]),
            proposed=int(proposed[number]),
            proposed_name=predicted,
            total=len(suspects),
        )


def _mean_probability(networks: Sequence[Evidence], rows: Array, labels: Array, supports: Supports) -> Array:
    """Return the probability of a label for each of the rows, averaged over the networks, (m,)."""
    mean: Array = np.mean([network.label_probability(rows, labels, supports) for network in networks], axis=0)
    return mean


def _share_of_all(networks: Sequence[Evidence], given: Array) -> Array:
    """Return the share of a sample's neighbours with the given label of it, averaged over all layers, (n,)."""
    shares = [network.shares(given) for network in networks if network.layers.neighbors]
    if not shares:
        return np.full(len(given), np.nan)
    mean: Array = np.concatenate(shares).mean(axis=0)
    return mean


def _verdicts(networks: Sequence[Evidence], labels: Array, names: Sequence[str]) -> Verdicts:
    predictions = np.stack([network.predicted for network in networks])  # (n_networks, n)
    judged = (predictions >= 0) & (labels >= 0)
    return Verdicts(
        names=[network.name for network in networks],
        right=judged & (predictions == labels),
        wrong=judged & (predictions != labels),
        sureness=np.stack([network.confidence for network in networks]),
        prediction=lambda network, row: names[predictions[network, row]],
        truth=lambda row: names[labels[row]],
    )


def _late_changes(network: Evidence, labels: Array, names: Sequence[str]) -> Iterator[CornerCase]:
    """Find samples whose neighbours' vote changes exactly once, in the last third of the layers.

    The surer the votes before and after the change, the stronger the case.
    """
    depth = len(network.layers.neighbors)
    if depth < 3:
        return
    winners, shares = network.winners, network.shares(network.winners)  # (n_layers, n) each
    change = winners[1:] != winners[:-1]  # (n_layers - 1, n); entry i: between layers i and i + 1
    # The layer from which the vote stays as it ends; found from the end, where argmax returns the first True.
    last = depth - 1 - np.argmax(change[::-1], axis=0)
    flipped = (change.sum(0) == 1) & (last >= np.ceil(2 * (depth - 1) / 3)) & (winners >= 0).all(axis=0)
    for row in np.flatnonzero(flipped).tolist():
        # Mean shares of the winning label, before and from the change.
        before, after = shares[: last[row], row].mean(), shares[last[row] :, row].mean()
        old, new = names[winners[0, row]], names[winners[-1, row]]
        where = "the last layer" if last[row] == depth - 1 else f"layer {last[row] + 1} of {depth}"
        reason = f"in {network.name} most of its neighbours are {old} until {where}, then {new}"
        if winners[-1, row] == labels[row]:
            reason += ", which is its label"
        elif labels[row] >= 0:
            reason += f", although it is labelled {names[labels[row]]}"
        yield CornerCase(CHANGES_LATE, row, float(before * after), reason)


def _wrong_ends(network: Evidence, labels: Array, names: Sequence[str]) -> Iterator[CornerCase]:
    """Find samples whose neighbours' vote changes and is not the label in the last layer.

    The more often it changes and the closer the votes are, the stronger the case.
    """
    depth = len(network.layers.neighbors)
    if depth < 2:
        return
    winners, shares = network.winners, network.shares(network.winners)  # (n_layers, n) each
    changes = (winners[1:] != winners[:-1]).sum(0)  # (n,)
    doubt = 1 - shares.mean(0)
    wrong_end = (winners[-1] != labels) & (changes > 0) & (labels >= 0) & (winners >= 0).all(axis=0)
    for row in np.flatnonzero(wrong_end).tolist():
        times = "once" if changes[row] == 1 else f"{changes[row]} times"
        reason = (
            f"in {network.name} the class of most of its neighbours changes {times} over {depth} layers and does not "
            f"end at its label, {names[labels[row]]}"
        )
        # The mean of two numbers in [0, 1]: changes per possible change, and missing votes.
        score = (changes[row] / (depth - 1) + doubt[row]) / 2
        yield CornerCase(ENDS_WRONG, row, float(score), reason)


def _isolated(network: Evidence, labels: Array, names: Sequence[str]) -> Iterator[CornerCase]:
    """Find samples whose confident prediction is the label of less than half of their neighbours, over all layers."""
    share = network.shares(network.predicted).mean(axis=0)  # NaN, which is not less, without labelled neighbours
    neighbors = _neighbors(labels)
    for row in np.flatnonzero((network.confidence >= _CONFIDENT) & (share < 0.5)).tolist():
        predicted = names[network.predicted[row]]
        reason = (
            f"{network.name} is {network.confidence[row]:.0%} sure of {predicted}, but only {share[row]:.0%} of its "
            f"{neighbors} are labelled {predicted}"
        )
        yield CornerCase(ISOLATED, row, float(network.confidence[row] * (1 - share[row])), reason)


def _neighbors(labels: Array) -> str:
    """Return what votes are counted among: where some samples have no label, the share is not one of all neighbours."""
    return "neighbours" if (labels >= 0).all() else "labelled neighbours"
