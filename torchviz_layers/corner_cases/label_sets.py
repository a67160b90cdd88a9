"""Corner cases of networks that predict several labels a sample."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

import numpy as np

from torchviz_layers._common.arrays import Array
from torchviz_layers._common.votes import jaccard_shares
from torchviz_layers.corner_cases.cases import CornerCase
from torchviz_layers.corner_cases.classes import ISOLATED, LABEL_SUSPECT
from torchviz_layers.corner_cases.evidence import Layers
from torchviz_layers.corner_cases.label_support import TINY, combined_probability, probability_wrong
from torchviz_layers.corner_cases.verdicts import Verdicts, listed

_SURE = 0.8  # probability with which every network must contradict a label
_CONFIDENT = 0.9
_ALONE = 0.25  # mean Jaccard index; partly other sets are common among neighbours, of several labels
_SHORTLIST = 8  # times the limit: so many pairs of sample and label are compared with the neighbours
_LISTED = 4  # labels that a reason names


def cases_of_label_sets(
    probabilities: Mapping[str, Array],
    label_sets: Array,
    layers: Mapping[str, Layers],
    names: Sequence[str],
    limit: int,
) -> Iterator[CornerCase]:
    """Find the corner cases of one or several networks, kind by kind.

    Parameters
    ----------
    probabilities
        Probability of each label by network, (n, n_labels); a row with NaN is a sample without a prediction.
    label_sets
        Which labels each sample has, bool (n, n_labels).
    layers
        Layers of each network.
    names
        Names of the labels.
    limit
        Number of cases of a kind that are wanted; more may be found.
    """
    tables = np.stack([np.asarray(table, np.float64) for table in probabilities.values()])  # (n_networks, n, n_labels)
    networks = list(probabilities)
    yield from _label_suspects(networks, tables, label_sets, layers, names, limit)
    known = np.isfinite(tables).all(axis=2)  # (n_networks, n)
    predicted = tables > 0.5
    # As sure of the whole set as of the label that it is least sure of.
    sureness = np.where(known, np.maximum(tables, 1 - tables).min(axis=2), 0)
    exact = (predicted == label_sets).all(axis=2)
    verdicts = Verdicts(
        names=networks,
        right=known & exact,
        wrong=known & ~exact,
        sureness=sureness,
        prediction=lambda network, row: _in_words(predicted[network, row], names),
        truth=lambda row: _in_words(label_sets[row], names),
    )
    yield from verdicts.cases()
    for network, name in enumerate(networks):
        yield from _isolated(name, predicted[network], sureness[network], label_sets, layers[name], names)


def _label_suspects(
    networks: Sequence[str],
    tables: Array,
    label_sets: Array,
    layers: Mapping[str, Layers],
    names: Sequence[str],
    limit: int,
) -> Iterator[CornerCase]:
    """Find missing and extra labels that all networks contradict, and most neighbours do, too."""
    contrary = np.where(label_sets, 1 - tables, tables)  # (n_networks, n, n_labels)
    doubted = (contrary >= _SURE).all(axis=0)  # never where a prediction is NaN
    rows, labels = np.nonzero(doubted)
    own = 1 - contrary[:, rows, labels].mean(axis=0)  # probability of what is given, (m,)
    shortlist = np.argsort(own, kind="stable")[: _SHORTLIST * limit]
    rows, labels, own = rows[shortlist], labels[shortlist], own[shortlist]
    given = label_sets[rows, labels].astype(np.int64)  # 1: has the label
    # Share of the neighbours with the label in each layer, (m,) each.
    shares = [
        label_sets[near[rows], labels[:, None]].mean(axis=1)
        for of_network in layers.values()
        for near in of_network.neighbors.values()
    ]
    supports = [np.stack([1 - share, share], axis=1) for share in shares]  # of "no" and "yes", (m, 2) each
    combined = combined_probability(own, supports, given)
    against = np.mean([support[np.arange(len(rows)), 1 - given] for support in supports], axis=0) if supports else None
    wrong = probability_wrong(combined, combined_probability(1 - own, supports, 1 - given), against)
    for number, (row, label) in enumerate(zip(rows.tolist(), labels.tolist(), strict=True)):
        if against is not None and against[number] < 0.5:
            continue
        sure = contrary[:, row, label].mean()
        reason = _suspicion(names[label], bool(given[number]), networks, sure)
        if against is not None:
            have = "do not have it" if given[number] else "have it"
            reason += f", and {against[number]:.0%} of its neighbours {have}"
        score = float(-np.log10(max(combined[number], TINY)))
        yield CornerCase(LABEL_SUSPECT, row, score, reason, probability=float(wrong[number]))


def _suspicion(label: str, given: bool, networks: Sequence[str], sure: float) -> str:
    """Return who contradicts a label: "labelled hat, but A is 98% sure that it is missing"."""
    who = listed(networks)
    is_sure = f"{who} is {sure:.0%} sure" if len(networks) == 1 else f"{who} are {sure:.0%} sure on average"
    if given:
        return f"labelled {label}, but {is_sure} that it is not"
    return f"not labelled {label}, but {is_sure} that it is"


def _isolated(
    name: str, predicted: Array, sureness: Array, label_sets: Array, layers: Layers, names: Sequence[str]
) -> Iterator[CornerCase]:
    """Find samples whose confident prediction is unlike the label sets of their neighbours, over all layers."""
    if not layers.neighbors:
        return
    shares = [jaccard_shares(near, label_sets, predicted) for near in layers.neighbors.values()]
    share = np.mean(shares, axis=0)
    for row in np.flatnonzero((sureness >= _CONFIDENT) & (share < _ALONE)).tolist():
        reason = (
            f"{name} is {sureness[row]:.0%} sure of {_in_words(predicted[row], names)}, but its neighbours' labels "
            f"agree with that by only {share[row]:.0%} (mean Jaccard index)"
        )
        yield CornerCase(ISOLATED, row, float(sureness[row] * (1 - share[row])), reason)


def _in_words(label_set: Array, names: Sequence[str]) -> str:
    """Return a set of labels as "cat, dog and hat"; of more than four, the first four and how many there are more."""
    chosen = [names[label] for label in np.flatnonzero(label_set).tolist()]
    if not chosen:
        return "no label"
    if len(chosen) > _LISTED:
        chosen = [*chosen[:_LISTED], f"{len(chosen) - _LISTED} more"]
    return " and ".join([", ".join(chosen[:-1]), chosen[-1]]) if len(chosen) > 1 else chosen[0]
