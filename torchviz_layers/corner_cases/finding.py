"""Which samples to look at first, and why."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import permutations
from typing import Any, cast

import numpy as np

from torchviz_layers._common.arrays import Array, as_numpy, as_rows
from torchviz_layers._common.votes import vote_shares, vote_winners
from torchviz_layers.corner_cases.label_support import TINY, kernel_supports, mended
from torchviz_layers.exceptions import DataError
from torchviz_layers.neighbors import knn

LABEL_SUSPECT = "label suspect"
LATE_FLIP = "late flip"
NEVER_SETTLED = "never settled"
ISOLATED = "confident but isolated"

_N_NEIGHBORS = 15
_CONFIDENT = 0.9
_SHORTLIST = 4  # times the limit: so many suspects are looked at closely
_TELLING_FEATURES = 4_096  # wider layers cost more to search for label errors than they tell


@dataclass(frozen=True)
class CornerCase:
    """One sample worth a look.

    Attributes
    ----------
    kind : str
        Why it is in a queue: `label suspect`, `A wrong, B right` (with the networks' names), `late flip`,
        `never settled` or `confident but isolated`.
    sample : int
        Row of the sample.
    score : float
        How strong the case is, comparable within a kind; the strongest first.
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
    """Rank the samples that one network, or several, make the most interesting.

    A label is suspect where the networks agree on another one (a single network: where it answers another one). Its
    score is -log10 of the probability of the given label, mended by the labels around the sample in activation space:
    between the geometric and the arithmetic mean (a mean of cube roots) of the network's own probability, which counts
    a quarter, and of what each layer bears out, the sample's own label left out, under the plain distance and under one
    that evens out the spread within labels; several networks: the mean over them.
    The other kinds read the vote of a sample's neighbours layer by layer, so they need `activations` or `neighbors`.

    Parameters
    ----------
    probabilities : ndarray of shape (n_samples, n_classes), or mapping of network to such
        What the networks answer.
    targets : ndarray of shape (n_samples,)
        The given labels, from 0 to n_classes - 1.
    activations : mapping of layer to array (n_samples, ...), or mapping of network to such, optional
        Layers in forward order; the input may be the first. They mend suspects better than neighbours alone, and all
        of them count alike: give those that `telling_layers` chooses.
    neighbors : mapping of layer to array (n_samples, k), or mapping of network to such, optional
        Rows of the nearest neighbours in activation space, nearest first, without the sample itself, in forward order.
        Default: the 15 nearest, computed from `activations`.
    class_names : sequence of str, optional
        For the reasons; default the numbers.
    limit : int
        At most so many cases a kind.

    Returns
    -------
    list of CornerCase
        Kind by kind, each ranked by descending score, equal ones by row.

    Raises
    ------
    DataError
        If shapes, labels or names of networks do not fit.
    NonFiniteError
        If activations hold NaN or infinity.

    Examples
    --------
    >>> probabilities = np.array([[0.9, 0.1], [0.2, 0.8], [0.99, 0.01]])
    >>> [(case.kind, case.sample) for case in find_corner_cases(probabilities, np.array([0, 1, 1]))]
    [('label suspect', 2)]
    """
    several = isinstance(probabilities, Mapping)
    outputs = dict(probabilities) if isinstance(probabilities, Mapping) else {"the network": probabilities}
    labels = _check_targets(targets, outputs)
    networks = []
    for name, given in outputs.items():
        acts = _of_network("activations", activations, name, several)
        near = _of_network("neighbors", neighbors, name, several)
        networks.append(_Network.of(name, np.asarray(given), labels, acts, near))
    names = [str(label) for label in range(networks[0].n_classes)] if class_names is None else list(class_names)
    cases = [*_label_suspects(networks, labels, names, limit)]
    for wrong, right in permutations(networks, 2):
        cases += _one_wrong(wrong, right, labels, names)
    for find in (_late_flips, _never_settled, _isolated):
        cases += [case for network in networks if network.votes for case in find(network, labels, names)]
    return _rank(cases, limit)


@dataclass(frozen=True)
class _Network:
    """One network's answers and what surrounds each sample, layer by layer."""

    name: str
    probabilities: Array  # (n, n_classes)
    votes: list[Array]  # a layer each: (n, n_classes), shares of the neighbours' labels
    winners: list[Array]  # a layer each: (n,), the label of most neighbours
    activations: list[Array]  # a layer each: (n, n_features)

    @classmethod
    def of(
        cls,
        name: str,
        probabilities: Array,
        labels: Array,
        activations: Mapping[str, Any],
        near: Mapping[str, Array],
    ) -> _Network:
        n_classes = probabilities.shape[1]
        points = {layer: as_numpy(as_rows(X, layer)) for layer, X in activations.items()}
        if not near:
            k = min(_N_NEIGHBORS, len(labels) - 1)
            near = {layer: knn(X, k)[0] for layer, X in points.items()} if k > 0 else {}
        rows = [_check_neighbors(layer, given, len(labels)) for layer, given in near.items()]
        votes = [vote_shares(each, labels, n_classes) for each in rows]
        winners = [vote_winners(each, labels, n_classes) for each in rows]
        return cls(name, probabilities, votes, winners, list(points.values()))

    def given(self, rows: Array, labels: Array, supports: dict[Any, tuple[Array, Array]]) -> Array:
        """Return the probability of the given label of these rows, mended; `supports` keeps what networks share."""
        places = [(X.ctypes.data, X.shape) for X in self.activations]
        for place, X in zip(places, self.activations, strict=True):
            if place not in supports:
                supports[place] = kernel_supports(X, labels, self.n_classes, rows)
        evidence = [support for place in places for support in supports[place]] or [share[rows] for share in self.votes]
        return mended(self.probabilities[rows, labels[rows]], evidence, labels[rows])

    @property
    def n_classes(self) -> int:
        return int(self.probabilities.shape[1])

    @cached_property
    def predicted(self) -> Array:
        return cast("Array", self.probabilities.argmax(1))

    @cached_property
    def confidence(self) -> Array:
        return cast("Array", self.probabilities.max(1))


def telling_layers(shapes: Mapping[str, Sequence[int]]) -> list[str]:
    """Choose the layers whose activations tell most of a network's suspect labels.

    That is the last hidden layer that still has places (more than one axis longer than 1), without it the first layer
    and the last. Dense layers behind convolutions repeat the network's answer, so they bear out its errors too.

    Parameters
    ----------
    shapes : mapping of layer to the shape of one sample
        In forward order, the input first and the output left out.

    Examples
    --------
    >>> telling_layers({"input": (1, 28, 28), "conv": (6, 30, 30), "pool": (16, 6, 6), "dense": (60,)})
    ['pool']
    >>> telling_layers({"input": (1, 28, 28), "dense": (128,)})
    ['input', 'dense']
    """
    narrow = [name for name, shape in shapes.items() if np.prod(shape) <= _TELLING_FEATURES]
    hidden = [name for name in narrow if name != next(iter(shapes))]
    placed = [name for name in hidden if sum(size > 1 for size in shapes[name]) > 1]
    return placed[-1:] or list(dict.fromkeys([*narrow[:1], *narrow[-1:]]))


def _label_suspects(
    networks: Sequence[_Network], labels: Array, names: Sequence[str], limit: int
) -> Iterator[CornerCase]:
    answers = np.stack([network.predicted for network in networks])
    agreed = np.flatnonzero((answers == answers[0]).all(0) & (answers[0] != labels))
    own = np.mean([network.probabilities[agreed, labels[agreed]] for network in networks], axis=0)
    rows = np.sort(agreed[np.argsort(own, kind="stable")[: _SHORTLIST * limit]])
    supports: dict[Any, tuple[Array, Array]] = {}
    given = np.mean([network.given(rows, labels, supports) for network in networks], axis=0)
    who = networks[0].name if len(networks) == 1 else " and ".join(network.name for network in networks)
    for row, probability in zip(rows, given, strict=True):
        answer = names[answers[0, row]]
        share = _share_for(networks, int(row), int(answers[0, row]))
        around = "" if share is None else f", and {share:.0%} of its neighbours are labelled {answer}"
        reason = f"labelled {names[labels[row]]}, but {who} answer{'s' * (len(networks) == 1)} {answer}"
        yield CornerCase(LABEL_SUSPECT, int(row), float(-np.log10(max(probability, TINY))), reason + around)


def _share_for(networks: Sequence[_Network], row: int, label: int) -> float | None:
    shares = [votes[row, label] for network in networks for votes in network.votes]
    return float(np.mean(shares)) if shares else None


def _one_wrong(wrong: _Network, right: _Network, labels: Array, names: Sequence[str]) -> Iterator[CornerCase]:
    differ = (wrong.predicted != labels) & (right.predicted == labels)
    for row in np.flatnonzero(differ):
        sure = wrong.confidence[row], right.confidence[row]
        reason = (
            f"{wrong.name} answers {names[wrong.predicted[row]]} ({sure[0]:.0%} sure), "
            f"{right.name} rightly {names[labels[row]]} ({sure[1]:.0%})"
        )
        yield CornerCase(f"{wrong.name} wrong, {right.name} right", int(row), float(sure[0] * sure[1]), reason)


def _late_flips(network: _Network, labels: Array, names: Sequence[str]) -> Iterator[CornerCase]:
    """Find samples whose neighbours voted alike for most of the way and otherwise in the last third of the layers."""
    if (depth := len(network.votes)) < 3:
        return
    winners, shares = _winners(network)  # (n_layers, n) each
    change = winners[1:] != winners[:-1]
    last = depth - 1 - np.argmax(change[::-1], axis=0)  # the layer from which the vote stays as it ends
    flipped = change.any(0) & (last >= np.ceil(2 * (depth - 1) / 3)) & (change.sum(0) == 1)
    for row in np.flatnonzero(flipped):
        before, after = shares[: last[row], row].mean(), shares[last[row] :, row].mean()
        old, new = names[winners[0, row]], names[winners[-1, row]]
        outcome = "to the label" if winners[-1, row] == labels[row] else f"although it is labelled {names[labels[row]]}"
        where = "last layer" if last[row] == depth - 1 else f"layer {last[row] + 1} of {depth}"
        reason = f"in {network.name} its neighbours vote {old} until the {where}, then {new}, {outcome}"
        yield CornerCase(LATE_FLIP, int(row), float(before * after), reason)


def _never_settled(network: _Network, labels: Array, names: Sequence[str]) -> Iterator[CornerCase]:
    """Find samples whose neighbours' vote never comes to stay with the label: those that change most come first."""
    if (depth := len(network.votes)) < 2:
        return
    winners, shares = _winners(network)
    changes = (winners[1:] != winners[:-1]).sum(0)
    doubt = 1 - shares.mean(0)
    for row in np.flatnonzero((winners[-1] != labels) & (changes > 0)):
        reason = (
            f"in {network.name} its neighbours' vote changes {changes[row]} times over {depth} layers and never comes "
            f"to stay with {names[labels[row]]}"
        ).replace(" 1 times", " once")
        yield CornerCase(NEVER_SETTLED, int(row), float((changes[row] / (depth - 1) + doubt[row]) / 2), reason)


def _isolated(network: _Network, labels: Array, names: Sequence[str]) -> Iterator[CornerCase]:  # noqa: ARG001 - one signature
    """Find samples whose sure answer their neighbours do not share: in the plain mean over layers, under one half."""
    rows = np.arange(len(network.probabilities))
    share = np.mean([votes[rows, network.predicted] for votes in network.votes], axis=0)
    for row in np.flatnonzero((network.confidence >= _CONFIDENT) & (share < 0.5)):
        answer = names[network.predicted[row]]
        sure = f"{network.name} is {network.confidence[row]:.0%} sure of {answer}"
        reason = f"{sure}, but only {share[row]:.0%} of its neighbours are labelled {answer}"
        yield CornerCase(ISOLATED, int(row), float(network.confidence[row] * (1 - share[row])), reason)


def _winners(network: _Network) -> tuple[Array, Array]:
    """Return each layer's winning label and its share of the neighbours, (n_layers, n) each."""
    return np.stack(network.winners), np.stack([votes.max(1) for votes in network.votes])


def _rank(cases: Sequence[CornerCase], limit: int) -> list[CornerCase]:
    """Order each kind by descending score; a sample that two networks put in one queue stays there once."""
    kinds: dict[str, dict[int, CornerCase]] = {}
    for case in sorted(cases, key=lambda case: (-case.score, case.sample)):
        kinds.setdefault(case.kind, {}).setdefault(case.sample, case)
    order = dict.fromkeys(case.kind for case in cases)
    return [case for kind in order for case in list(kinds[kind].values())[:limit]]


def _check_targets(targets: Array, outputs: Mapping[str, Array]) -> Array:
    labels = np.asarray(targets)
    if not outputs:
        raise DataError("probabilities: no network is given")
    widths = set()
    for name, given in outputs.items():
        shape = np.shape(given)
        if len(shape) != 2 or labels.ndim != 1 or shape[0] != len(labels):
            raise DataError(
                f"probabilities of {name} have shape {shape}, targets {labels.shape}: "
                "(n, n_classes) and (n,) are needed"
            )
        if shape[1] == 1:
            raise DataError(
                f"probabilities of {name} have one column: of one probability p a sample make np.stack([1 - p, p], 1)"
            )
        widths.add(shape[1])
    if len(widths) > 1:
        raise DataError(f"probabilities: the networks answer {sorted(widths)} classes; they must agree")
    n_classes = widths.pop()
    if labels.dtype.kind not in "iu" or (labels.size and not 0 <= labels.min() <= labels.max() < n_classes):
        raise DataError(f"targets must be integers from 0 to {n_classes - 1}, as many as the networks answer")
    return labels.astype(np.int64)


def _of_network(what: str, given: Mapping[str, Any] | None, name: str, several: bool) -> Mapping[str, Any]:
    if not given:
        return {}
    if not several:
        return given
    if name not in given:
        raise DataError(f"{what}: none for network {name!r}; they are given for {', '.join(map(repr, given))}")
    return cast("Mapping[str, Any]", given[name])


def _check_neighbors(layer: str, rows: Array, n: int) -> Array:
    rows = np.asarray(rows)
    if rows.ndim != 2 or len(rows) != n or rows.dtype.kind not in "iu" or rows.shape[1] < 1:
        raise DataError(
            f"neighbors of {layer!r} are {rows.dtype} of shape {rows.shape}: integers (n={n}, k) are needed"
        )
    if rows.size and not 0 <= rows.min() <= rows.max() < n:
        raise DataError(f"neighbors of {layer!r} go from {rows.min()} to {rows.max()}: rows are 0 to {n - 1}")
    return rows
