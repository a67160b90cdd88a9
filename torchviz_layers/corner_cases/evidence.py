"""What the search for corner cases reads of each network: its predictions, its layers, and neighbours in them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, cast

import numpy as np

from torchviz_layers._common.arrays import Array, as_numpy, as_rows
from torchviz_layers._common.votes import label_share, vote_shares, vote_winners
from torchviz_layers.corner_cases.label_support import combined_probability, kernel_supports
from torchviz_layers.exceptions import DataError
from torchviz_layers.neighbors import knn

# Supports of the given rows by the memory address and shape of a layer: networks that share a layer (the input) share
# its supports.
Supports = dict[tuple[int, tuple[int, ...]], tuple[Array, Array]]

_N_NEIGHBORS = 15
_INFORMATIVE_FEATURES = 4_096  # searching wider layers for label errors costs more than it finds


@dataclass(frozen=True)
class Layers:
    """One network's layers and each sample's neighbours in them, in forward order.

    Parameters
    ----------
    neighbors
        Rows of the nearest neighbours in each layer, of shape (n, k) each; none of a single sample.
    activations
        Activations by layer, of shape (n, n_features) each; it may lack layers that have neighbours.
    """

    neighbors: Mapping[str, Array]
    activations: Mapping[str, Array]

    @classmethod
    def of(cls, n: int, activations: Mapping[str, Any], neighbors: Mapping[str, Any]) -> Layers:
        """Return the layers of n samples; without neighbours they are searched for in the activations."""
        points = {layer: as_numpy(as_rows(X, layer)) for layer, X in activations.items()}
        for layer, X in points.items():
            if len(X) != n:
                raise DataError(f"activations of {layer!r} have {len(X)} rows for {n} samples; give one a sample")
        # A single sample has no neighbours.
        k = min(_N_NEIGHBORS, n - 1)
        if not neighbors and k > 0:
            return cls({layer: knn(X, k)[0] for layer, X in points.items()}, points)
        return cls({layer: _checked_neighbors(layer, given, n) for layer, given in neighbors.items()}, points)


@dataclass(frozen=True)
class Evidence:
    """One classifying network's predictions, and layer by layer the votes of each sample's neighbours.

    Parameters
    ----------
    name
        The network's name.
    probabilities
        Of shape (n, n_classes); a row with NaN is a sample without a prediction.
    labels
        Of shape (n,), -1 for a sample without a label.
    layers
        The network's layers.
    """

    name: str
    probabilities: Array
    labels: Array
    layers: Layers

    def label_probability(self, rows: Array, labels: Array, supports: Supports) -> Array:
        """Return the probability of a label for each of `rows`, by the network and its layers together.

        `labels` has one for each of the rows, the given one or another. `supports` keeps what was computed for layers
        that another network has too.
        """
        evidence: list[Array] = []
        for X in self.layers.activations.values():
            key = (X.ctypes.data, X.shape)
            if key not in supports:
                supports[key] = kernel_supports(X, self.labels, self.n_classes, rows)
            evidence += supports[key]
        # Without activations, the votes of the neighbours are the evidence.
        if not evidence:
            neighbors = self.layers.neighbors.values()
            evidence = [vote_shares(near[rows], self.labels, self.n_classes) for near in neighbors]
        return combined_probability(self.probabilities[rows, labels], evidence, labels)

    @property
    def n_classes(self) -> int:
        """Number of classes."""
        return int(self.probabilities.shape[1])

    @cached_property
    def known(self) -> Array:
        """Whether the network has a prediction for each sample, (n,)."""
        return cast("Array", np.isfinite(self.probabilities).all(axis=1))

    @cached_property
    def predicted(self) -> Array:
        """Predicted class of each sample, (n,); -1 without a prediction."""
        return np.where(self.known, np.nan_to_num(self.probabilities).argmax(1), -1)

    @cached_property
    def confidence(self) -> Array:
        """Probability of the predicted class, (n,); 0 without a prediction."""
        return np.where(self.known, self.probabilities.max(1), 0)

    @cached_property
    def winners(self) -> Array:
        """Label of most neighbours, (n_layers, n); -1 where no neighbour has one."""
        neighbors = self.layers.neighbors.values()
        return np.stack([vote_winners(near, self.labels, self.n_classes) for near in neighbors])

    def shares(self, labels: Array) -> Array:
        """Return the share of a sample's labelled neighbours that has a given label of it, (n_layers, n).

        `labels` has shape (n,) or, a label for each layer, (n_layers, n). NaN where no neighbour has a label.
        """
        neighbors = list(self.layers.neighbors.values())
        given = np.broadcast_to(labels, (len(neighbors), len(self.labels)))
        return np.stack([label_share(near, self.labels, of) for near, of in zip(neighbors, given, strict=True)])


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


def of_network(what: str, given: Any, name: str, several: bool) -> Mapping[str, Any]:
    """Return the part of an argument that is one network's: all of it, unless there are several networks."""
    if given is None:
        return {}
    if not isinstance(given, Mapping):
        raise DataError(
            f"{what}: a mapping of layer to array is needed, got {type(given).__name__}; give {{'layer': X}}"
        )
    if not given or not several:
        return given
    if name not in given:
        raise DataError(f"{what}: none for network {name!r}; they are given for {', '.join(map(repr, given))}")
    layers = given[name]
    if not isinstance(layers, Mapping):
        raise DataError(
            f"{what} of network {name!r}: a mapping of layer to array is needed, got {type(layers).__name__}; "
            f"give {{{name!r}: {{'layer': X}}}}"
        )
    return cast("Mapping[str, Any]", layers)


def _checked_neighbors(layer: str, rows: Any, n: int) -> Array:
    """Return a layer's neighbours as an array (n, k); raise `DataError` if they are not rows of the samples."""
    checked = as_numpy(rows)
    if checked.ndim != 2 or len(checked) != n or checked.dtype.kind not in "iu" or checked.shape[1] < 1:
        raise DataError(
            f"neighbors of {layer!r} are {checked.dtype} of shape {checked.shape}: integers (n={n}, k) are needed"
        )
    if checked.size and not 0 <= checked.min() <= checked.max() < n:
        raise DataError(f"neighbors of {layer!r} go from {checked.min()} to {checked.max()}: rows are 0 to {n - 1}")
    return checked
