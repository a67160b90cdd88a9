"""Which samples to look at first, and why: ranked by kind, each with its reason in one sentence."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import permutations
from typing import Any

import numpy as np

from torchviz_layers._common.arrays import Array
from torchviz_layers.corner_cases.evidence import Evidence, Supports, check_targets, of_network
from torchviz_layers.corner_cases.label_support import TINY

LABEL_SUSPECT = "label suspect"
LATE_FLIP = "late flip"
NEVER_SETTLED = "never settled"
ISOLATED = "confident but isolated"

_CONFIDENT = 0.9
_SHORTLIST = 4  # times the limit: so many suspects get the expensive score


@dataclass(frozen=True)
class CornerCase:
    """One sample that deserves a look.

    Attributes
    ----------
    kind : str
        Name of its queue: `label suspect`, `A wrong, B right` (with the networks' names), `late flip`,
        `never settled` or `confident but isolated`.
    sample : int
        Row of the sample.
    score : float
        How strong the case is; comparable within a kind.
    reason : str
        One sentence for the reader.
    """

    kind: str
    sample: int
    score: float
    reason: str


def find_corner_cases(
    probabilities: Array | Mapping[str, Array],
    targets: Array,
    activations: Mapping[str, Any] | Mapping[str, Mapping[str, Any]] | None = None,
    *,
    neighbors: Mapping[str, Array] | Mapping[str, Mapping[str, Array]] | None = None,
    class_names: Sequence[str] | None = None,
    limit: int = 100,
) -> list[CornerCase]:
    """Rank the samples that deserve a look, by the predictions of one or several networks.

    A label is suspect where the networks agree on another one; a single network, where it predicts another one. The
    score is -log10 of the probability of the given label. This probability combines the network's own, with a weight of
    one quarter, with the support that the labels of surrounding samples give it in each layer. The sample's own label
    is left out. Surroundings are measured twice: by Euclidean distance and by one that equalizes the spread within
    labels. All are combined by a mean of cube roots, which is between the geometric and the arithmetic mean. The
    probabilities of several networks are averaged.

    The other kinds use the votes of a sample's neighbours layer by layer, so they need `activations` or `neighbors`.

    Parameters
    ----------
    probabilities : ndarray of shape (n_samples, n_classes), or mapping of network to such
        Class probabilities that the networks predict.
    targets : ndarray of shape (n_samples,)
        The given labels, from 0 to n_classes - 1.
    activations : mapping of layer to array (n_samples, ...), or mapping of network to such, optional
        Layers in forward order; the input may be the first. They rank suspects better than neighbours alone. All have
        the same weight, so pass only those that `informative_layers` chooses.
    neighbors : mapping of layer to array (n_samples, k), or mapping of network to such, optional
        Rows of the nearest neighbours in activation space, nearest first, without the sample itself; layers in forward
        order. Default: the 15 nearest, computed from `activations`.
    class_names : sequence of str, optional
        Names of the classes in the reasons. Default: their numbers.
    limit : int
        Maximum number of cases of a kind.

    Returns
    -------
    list of CornerCase
        Kind by kind, each ranked by descending score, equal ones by row.

    Raises
    ------
    DataError
        If shapes, labels or names of networks do not agree.
    NonFiniteError
        If activations contain NaN or infinity.

    Examples
    --------
    >>> probabilities = np.array([[0.9, 0.1], [0.2, 0.8], [0.99, 0.01]])
    >>> [(case.kind, case.sample) for case in find_corner_cases(probabilities, np.array([0, 1, 1]))]
    [('label suspect', 2)]
    """
    several = isinstance(probabilities, Mapping)
    # A single network without a name is called "the network" in reasons.
    outputs = dict(probabilities) if isinstance(probabilities, Mapping) else {"the network": probabilities}
    labels = check_targets(targets, outputs)
    networks = []
    for name, given in outputs.items():
        acts = of_network("activations", activations, name, several)
        near = of_network("neighbors", neighbors, name, several)
        networks.append(Evidence.of(name, np.asarray(given), labels, acts, near))
    names = [str(code) for code in range(networks[0].n_classes)] if class_names is None else list(class_names)
    cases = list(_label_suspects(networks, labels, names, limit))
    # Every ordered pair of networks: A wrong and B right, B wrong and A right.
    for wrong, right in permutations(networks, 2):
        cases += _one_wrong(wrong, right, labels, names)
    for find in (_late_flips, _never_settled, _isolated):
        for network in networks:
            if network.votes:
                cases += find(network, labels, names)
    return _rank(cases, limit)


def _label_suspects(
    networks: Sequence[Evidence], labels: Array, names: Sequence[str], limit: int
) -> Iterator[CornerCase]:
    """Find samples whose label all networks contradict with the same prediction."""
    predictions = np.stack([network.predicted for network in networks])  # (n_networks, n)
    agreed = (predictions == predictions[0]).all(axis=0)
    suspects = np.flatnonzero(agreed & (predictions[0] != labels))
    # The networks' own probabilities are known, the combined ones are expensive: those are computed only for a
    # shortlist of the labels that the networks think least probable.
    own = np.mean([network.probabilities[suspects, labels[suspects]] for network in networks], axis=0)
    shortlist = np.sort(suspects[np.argsort(own, kind="stable")[: _SHORTLIST * limit]])
    supports: Supports = {}
    combined = [network.label_probability(shortlist, labels, supports) for network in networks]
    who = " and ".join(network.name for network in networks)
    verb = "predicts" if len(networks) == 1 else "predict"
    for row, probability in zip(shortlist, np.mean(combined, axis=0), strict=True):
        predicted = predictions[0, row]
        reason = f"labelled {names[labels[row]]}, but {who} {verb} {names[predicted]}"
        share = _share_for(networks, int(row), int(predicted))
        if share is not None:
            reason += f", and {share:.0%} of its neighbours are labelled {names[predicted]}"
        yield CornerCase(LABEL_SUSPECT, int(row), float(-np.log10(max(probability, TINY))), reason)


def _share_for(networks: Sequence[Evidence], row: int, label: int) -> float | None:
    """Return the share of a sample's neighbours with a label, averaged over all layers; None without neighbours."""
    shares = [votes[row, label] for network in networks for votes in network.votes]
    return float(np.mean(shares)) if shares else None


def _one_wrong(wrong: Evidence, right: Evidence, labels: Array, names: Sequence[str]) -> Iterator[CornerCase]:
    """Find samples that one network misclassifies and the other does not; the surer both are, the stronger the case."""
    differ = (wrong.predicted != labels) & (right.predicted == labels)
    for row in np.flatnonzero(differ):
        sure_and_wrong, sure_and_right = wrong.confidence[row], right.confidence[row]
        reason = (
            f"{wrong.name} predicts {names[wrong.predicted[row]]} ({sure_and_wrong:.0%} sure), "
            f"{right.name} correctly predicts {names[labels[row]]} ({sure_and_right:.0%})"
        )
        score = float(sure_and_wrong * sure_and_right)
        yield CornerCase(f"{wrong.name} wrong, {right.name} right", int(row), score, reason)


def _late_flips(network: Evidence, labels: Array, names: Sequence[str]) -> Iterator[CornerCase]:
    """Find samples whose neighbours' vote changes exactly once, in the last third of the layers.

    The surer the votes before and after the change, the stronger the case.
    """
    depth = len(network.votes)
    if depth < 3:
        return
    winners, shares = _winners(network)  # (n_layers, n) each
    change = winners[1:] != winners[:-1]  # (n_layers - 1, n); entry i: between layers i and i + 1
    # The layer from which the vote stays as it ends; found from the end, where argmax returns the first True.
    last = depth - 1 - np.argmax(change[::-1], axis=0)
    flipped = (change.sum(0) == 1) & (last >= np.ceil(2 * (depth - 1) / 3))
    for row in np.flatnonzero(flipped):
        # Mean shares of the winning label, before and from the change.
        before, after = shares[: last[row], row].mean(), shares[last[row] :, row].mean()
        old, new = names[winners[0, row]], names[winners[-1, row]]
        where = "last layer" if last[row] == depth - 1 else f"layer {last[row] + 1} of {depth}"
        outcome = "which is its label"
        if winners[-1, row] != labels[row]:
            outcome = f"although it is labelled {names[labels[row]]}"
        reason = f"in {network.name} its neighbours vote {old} until the {where}, then {new}, {outcome}"
        yield CornerCase(LATE_FLIP, int(row), float(before * after), reason)


def _never_settled(network: Evidence, labels: Array, names: Sequence[str]) -> Iterator[CornerCase]:
    """Find samples whose neighbours' vote changes and never settles on the label.

    The more often it changes and the closer the votes are, the stronger the case.
    """
    depth = len(network.votes)
    if depth < 2:
        return
    winners, shares = _winners(network)  # (n_layers, n) each
    changes = (winners[1:] != winners[:-1]).sum(0)  # (n,)
    doubt = 1 - shares.mean(0)
    for row in np.flatnonzero((winners[-1] != labels) & (changes > 0)):
        times = "once" if changes[row] == 1 else f"{changes[row]} times"
        reason = (
            f"in {network.name} its neighbours' vote changes {times} over {depth} layers and never settles on its "
            f"label, {names[labels[row]]}"
        )
        # The mean of two numbers in [0, 1]: changes per possible change, and missing votes.
        score = (changes[row] / (depth - 1) + doubt[row]) / 2
        yield CornerCase(NEVER_SETTLED, int(row), float(score), reason)


def _isolated(network: Evidence, labels: Array, names: Sequence[str]) -> Iterator[CornerCase]:  # noqa: ARG001 - one signature
    """Find samples whose confident prediction is the label of less than half of their neighbours, over all layers."""
    rows = np.arange(len(network.probabilities))
    share = np.mean([votes[rows, network.predicted] for votes in network.votes], axis=0)
    for row in np.flatnonzero((network.confidence >= _CONFIDENT) & (share < 0.5)):
        predicted = names[network.predicted[row]]
        reason = (
            f"{network.name} is {network.confidence[row]:.0%} sure of {predicted}, but only {share[row]:.0%} of its "
            f"neighbours are labelled {predicted}"
        )
        yield CornerCase(ISOLATED, int(row), float(network.confidence[row] * (1 - share[row])), reason)


def _winners(network: Evidence) -> tuple[Array, Array]:
    """Return the label with most votes in each layer and its share of the neighbours, (n_layers, n) each."""
    return np.stack(network.winners), np.stack([votes.max(1) for votes in network.votes])


def _rank(cases: Sequence[CornerCase], limit: int) -> list[CornerCase]:
    """Return the cases kind by kind in the order found, each kind by descending score, at most `limit` of it.

    A sample that two networks add to the same kind stays there once, with its higher score.
    """
    by_kind: dict[str, dict[int, CornerCase]] = {case.kind: {} for case in cases}
    for case in sorted(cases, key=lambda case: (-case.score, case.sample)):
        by_kind[case.kind].setdefault(case.sample, case)
    ranked: list[CornerCase] = []
    for of_kind in by_kind.values():
        ranked += list(of_kind.values())[:limit]
    return ranked
