"""What the search for corner cases reads of each network: its predictions, votes of neighbours, and layers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, cast

import numpy as np

from torchviz_layers._common.arrays import Array, as_numpy, as_rows
from torchviz_layers._common.votes import vote_shares, vote_winners
from torchviz_layers.corner_cases.label_support import combined_probability, kernel_supports
from torchviz_layers.exceptions import DataError
from torchviz_layers.neighbors import knn

# Supports of the given rows by the memory address and shape of a layer: networks that share a layer (the input) share
# its supports.
Supports = dict[tuple[int, tuple[int, ...]], tuple[Array, Array]]

_N_NEIGHBORS = 15
_INFORMATIVE_FEATURES = 4_096  # searching wider layers for label errors costs more than it finds


@dataclass(frozen=True)
class Evidence:
    """One network's predictions, and layer by layer the votes of each sample's neighbours."""

    name: str
    probabilities: Array  # (n, n_classes)
    votes: list[Array]  # of each layer: (n, n_classes), shares of the neighbours' labels
    winners: list[Array]  # of each layer: (n,), the label of most neighbours
    activations: list[Array]  # of each layer: (n, n_features)

    @classmethod
    def of(
        cls,
        name: str,
        probabilities: Array,
        labels: Array,
        activations: Mapping[str, Any],
        neighbors: Mapping[str, Array],
    ) -> Evidence:
        """Return the evidence; without neighbours they are searched for in the activations."""
        n, n_classes = probabilities.shape
        points = {layer: as_numpy(as_rows(X, layer)) for layer, X in activations.items()}
        # A single sample has no neighbours, and then there are no votes.
        k = min(_N_NEIGHBORS, n - 1)
        if not neighbors and k > 0:
            neighbors = {layer: knn(X, k)[0] for layer, X in points.items()}
        rows = [_checked_neighbors(layer, given, n) for layer, given in neighbors.items()]
        votes = [vote_shares(each, labels, n_classes) for each in rows]
        winners = [vote_winners(each, labels, n_classes) for each in rows]
        return cls(name, probabilities, votes, winners, list(points.values()))

    def label_probability(self, rows: Array, labels: Array, supports: Supports) -> Array:
        """Return the probability of the given label of each of `rows`, by the network and its layers together.

        `supports` keeps what was computed for layers that another network has too.
        """
        evidence: list[Array] = []
        for X in self.activations:
            key = (X.ctypes.data, X.shape)
            if key not in supports:
                supports[key] = kernel_supports(X, labels, self.n_classes, rows)
            evidence += supports[key]
        # Without activations, the votes of the neighbours are the evidence.
        if not evidence:
            evidence = [shares[rows] for shares in self.votes]
        return combined_probability(self.probabilities[rows, labels[rows]], evidence, labels[rows])

    @property
    def n_classes(self) -> int:
        """Number of classes."""
        return int(self.probabilities.shape[1])

    @cached_property
    def predicted(self) -> Array:
        """Predicted class of each sample, (n,)."""
        return cast("Array", self.probabilities.argmax(1))

    @cached_property
    def confidence(self) -> Array:
        """Probability of the predicted class, (n,)."""
        return cast("Array", self.probabilities.max(1))


def informative_layers(shapes: Mapping[str, Sequence[int]]) -> list[str]:
    """Choose the layers whose activations help most to find wrong labels.

    That is the last hidden layer that still has positions (more than one axis longer than 1), such as a convolution.
    Without one it is the first layer and the last. Dense layers behind convolutions repeat the network's predictions,
    so they also support its errors.

    Parameters
    ----------
    shapes : mapping of layer to the shape of one sample
        In forward order, with the input first and without the output.

    Examples
    --------
    >>> informative_layers({"input": (1, 28, 28), "conv": (6, 30, 30), "pool": (16, 6, 6), "dense": (60,)})
    ['pool']
    >>> informative_layers({"input": (1, 28, 28), "dense": (128,)})
    ['input', 'dense']
    """
    narrow = [name for name, shape in shapes.items() if np.prod(shape) <= _INFORMATIVE_FEATURES]
    with_positions = []
    for name in narrow:
        is_input = name == next(iter(shapes))
        if not is_input and sum(size > 1 for size in shapes[name]) > 1:
            with_positions.append(name)
    if with_positions:
        return with_positions[-1:]
    # Of a network of dense layers: the input, and the layer before the output.
    first_and_last = [*narrow[:1], *narrow[-1:]]
    return list(dict.fromkeys(first_and_last))  # each once


def check_targets(targets: Array, outputs: Mapping[str, Array]) -> Array:
    """Return the targets as int64 (n,); raise `DataError` if they and the networks' probabilities do not agree."""
    labels = np.asarray(targets)
    if not outputs:
        raise DataError("probabilities: no network is given")
    # Checked for every network, so that the message names the one that does not fit.
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
                f"probabilities of {name} have one column: from one probability p per sample make "
                "np.stack([1 - p, p], 1)"
            )
        widths.add(shape[1])
    if len(widths) > 1:
        raise DataError(f"probabilities: the networks have {sorted(widths)} classes; they must agree")
    n_classes = widths.pop()
    if labels.dtype.kind not in "iu" or (labels.size and not 0 <= labels.min() <= labels.max() < n_classes):
        raise DataError(f"targets must be integers from 0 to {n_classes - 1}, the classes of the networks")
    return labels.astype(np.int64)


def of_network(what: str, given: Mapping[str, Any] | None, name: str, several: bool) -> Mapping[str, Any]:
    """Return the part of an argument that is one network's: all of it, unless there are several networks."""
    if not given:
        return {}
    if not several:
        return given
    if name not in given:
        raise DataError(f"{what}: none for network {name!r}; they are given for {', '.join(map(repr, given))}")
    return cast("Mapping[str, Any]", given[name])


def _checked_neighbors(layer: str, rows: Array, n: int) -> Array:
    """Return a layer's neighbours as an array (n, k); raise `DataError` if they are not rows of the samples."""
    rows = np.asarray(rows)
    if rows.ndim != 2 or len(rows) != n or rows.dtype.kind not in "iu" or rows.shape[1] < 1:
        raise DataError(
            f"neighbors of {layer!r} are {rows.dtype} of shape {rows.shape}: integers (n={n}, k) are needed"
        )
    if rows.size and not 0 <= rows.min() <= rows.max() < n:
        raise DataError(f"neighbors of {layer!r} go from {rows.min()} to {rows.max()}: rows are 0 to {n - 1}")
    return rows
