"""What a page is built from: arrays and small records, without torch and without models."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from torchviz_layers.page.corner_case import CornerCaseLike
from torchviz_layers.page.palette import class_colors
from torchviz_layers.page.scores import LabelScores, ValueScores
from torchviz_layers.page.subset import complete_names


@dataclass(frozen=True)
class Panel:
    """One layer of one network, embedded in two dimensions.

    Parameters
    ----------
    layer
        The layer's name.
    Z
        Embedding of shape (n_samples, 2). Rows with NaN or infinity are not drawn; the page says how many they are.
    neighbors
        Rows of the nearest neighbours in ACTIVATION space, nearest first, of shape (n_samples, k); the page shows 8.
    purity
        Mean share of a sample's neighbours in activation space that have its label, in [0, 1].
    probe_accuracy
        Accuracy of a linear probe on the activations, in [0, 1].
    trustworthiness
        How far neighbours in the plane are neighbours in activation space, in [0, 1]; low values get a warning badge.
    cka
        Linear CKA with the other network's layer of the nearest relative depth, in [0, 1]. Of three or more networks it
        is that with the first one's layer, and the first has none.
    neighbor_r2, probe_r2
        Of a regression, in place of purity and the linear classifier: R² of the mean target of the neighbours in
        activation space, and of a cross-validated linear regression on the activations. At most 1; it may be negative.
    kind, shape
        Kind of the layer and shape of one sample's activation, for the caption.
    """

    layer: str
    Z: NDArray[np.float32]
    neighbors: NDArray[np.integer[Any]] | None = None
    purity: float | None = None
    probe_accuracy: float | None = None
    trustworthiness: float | None = None
    cka: float | None = None
    kind: str = ""
    shape: tuple[int, ...] = ()
    neighbor_r2: float | None = None
    probe_r2: float | None = None

    @property
    def shape_text(self) -> str:
        """The shape as the page shows it: "6 × 30 × 30"."""
        return " × ".join(map(str, self.shape))

    def take(self, rows: NDArray[np.int64]) -> Panel:
        """Return the panel of these rows alone.

        It has neighbours only if all neighbours of these rows are among them: a list with gaps would show a wrong
        neighbourhood.
        """
        near = None
        if self.neighbors is not None:
            position = np.full(len(self.Z), -1)  # of every row in the part, -1 for rows that are not in it
            position[rows] = np.arange(len(rows))
            near = position[self.neighbors[rows]]
            if (near < 0).any():
                near = None
        return replace(self, Z=self.Z[rows], neighbors=near)


@dataclass(frozen=True)
class Network:
    """One network: its layers in forward order and, if it classifies, its predictions.

    Parameters
    ----------
    name
        The network's name, as the reader knows it.
    panels
        Its layers in forward order, without the input.
    probabilities
        Class probabilities of shape (n_samples, n_classes), or None for a network that does not classify. In a
        multi-label task each column is the probability of one label, and rows need not sum to 1.
    values
        Predicted values of a regression, of shape (n_samples,).
    accuracy_of_all
        Accuracy on all samples, if only a part is shown; the part has more errors, because it keeps every one.
    scores_of_all
        The same of a regression or a multi-label task.
    """

    name: str
    panels: tuple[Panel, ...]
    probabilities: NDArray[np.float32] | None = None
    values: NDArray[np.float32] | None = None
    accuracy_of_all: float | None = None
    scores_of_all: ValueScores | LabelScores | None = None

    @property
    def classifies(self) -> bool:
        """Whether it has class probabilities."""
        return self.probabilities is not None

    @property
    def predictions(self) -> NDArray[np.int64] | None:
        """Class with the highest probability, of shape (n_samples,); NaN counts as 0."""
        if self.probabilities is None:
            return None
        return np.asarray(np.argmax(np.nan_to_num(self.probabilities, nan=0.0), axis=1), dtype=np.int64)

    def accuracy(self, targets: NDArray[np.int64] | None) -> float | None:
        """Share of the labelled samples whose most probable class is the target, in [0, 1]; None if unknown."""
        if self.accuracy_of_all is not None:
            return self.accuracy_of_all
        # A part that keeps every error would have a lower accuracy, hence `accuracy_of_all`.
        if targets is None or self.predictions is None:
            return None
        known = targets >= 0
        if not known.any():
            return None
        return float(np.mean(self.predictions[known] == targets[known]))


@dataclass(frozen=True)
class PageData:
    """All that a page shows.

    Parameters
    ----------
    title
        Name of the data ("MNIST test digits"), for the window's title and the line under the headline.
    networks
        One to twelve networks over the same samples.
    images
        Pictures of shape (n_samples, channels, height, width) with 1, 3 or 4 channels, float in [0, 1] or uint8, or a
        sequence of pictures of different sizes; None if there are no pictures.
    texts
        One text per sample, shown if there are no pictures.
    rows, row_names
        Values of each sample's features, of shape (n_samples, n_features), and the names of the features: shown as a
        small table.
    series
        One curve per channel, of shape (n_samples, n_channels, length): shown as sparklines.
    targets
        True classes of shape (n_samples,), -1 for a sample without a label; or None.
    values
        True values of a regression, of shape (n_samples,), NaN for a sample without one; or None.
    label_sets
        Of a multi-label task: which labels each sample has, bool of shape (n_samples, n_labels); or None.
    class_names
        Names of the classes or labels; those without a name have their number.
    columns
        The reader's own columns by name: numbers, text or dates of shape (n_samples,), to colour by, to filter by, to
        search, on the card and in every export.
    ids
        One id per sample. Default: the rows.
    input_panel
        The embedding of the input itself, which the networks share.
    corner_cases
        What the queue steps through, the strongest case first within each kind.
    notes
        Sentences that the reader should not miss: the engine that ran and why, data out of distribution.
    class_colors
        Colours of the classes as ``#rrggbb``; classes without one get the page's own.
    threshold
        Of a regression: size of a residual above which it is an error. Default: the largest 5 % are.
    count_of_all, labelled_of_all
        Number of all samples and of those with a label, if only a part is shown.
    """

    title: str
    networks: tuple[Network, ...]
    images: NDArray[Any] | Sequence[NDArray[Any]] | None = None
    texts: Sequence[str] | None = None
    targets: NDArray[np.int64] | None = None
    class_names: Sequence[str] = ()
    ids: NDArray[Any] | Sequence[str | int] | None = None
    input_panel: Panel | None = None
    corner_cases: Sequence[CornerCaseLike] = ()
    notes: tuple[str, ...] = ()
    class_colors: Sequence[str] = ()
    count_of_all: int | None = None
    labelled_of_all: int | None = None
    rows: NDArray[np.float32] | None = None
    row_names: Sequence[str] = ()
    series: NDArray[np.float32] | None = None
    values: NDArray[np.float64] | None = None
    label_sets: NDArray[np.bool_] | None = None
    columns: Mapping[str, NDArray[Any]] = field(default_factory=dict)
    threshold: float | None = None

    @property
    def task(self) -> Literal["classification", "regression", "multilabel"] | None:
        """What the networks predict; None without targets and predictions."""
        if self.label_sets is not None:
            return "multilabel"
        if self.values is not None or any(network.values is not None for network in self.networks):
            return "regression"
        return "classification" if self.n_classes else None

    @property
    def n_samples(self) -> int:
        """Number of samples."""
        return len(self.panels[0].Z)

    @property
    def panels(self) -> tuple[Panel, ...]:
        """All panels: the input's, then each network's in forward order."""
        panels: list[Panel] = []
        if self.input_panel is not None:
            panels.append(self.input_panel)
        for network in self.networks:
            panels += network.panels
        return tuple(panels)

    @property
    def has_neighbors(self) -> bool:
        """Whether a panel has neighbours."""
        return any(panel.neighbors is not None for panel in self.panels)

    @property
    def predictions(self) -> list[NDArray[np.int64]]:
        """Predicted classes of each network that has them; none in a multi-label task."""
        if self.label_sets is not None:
            return []
        return [network.predictions for network in self.networks if network.predictions is not None]

    @property
    def sample_ids(self) -> NDArray[Any]:
        """The ids or, without ids, the rows, of shape (n_samples,)."""
        return np.arange(self.n_samples) if self.ids is None else np.asarray(self.ids)

    def with_panels(self, panels: Sequence[Panel]) -> PageData:
        """Return the data with other panels, one for each of `self.panels` and in the same order."""
        # The reverse of `panels`: the input's first, then each network's.
        remaining = list(panels)
        input_panel = None
        if self.input_panel is not None:
            input_panel = remaining.pop(0)
        networks = []
        for network in self.networks:
            count = len(network.panels)
            networks.append(replace(network, panels=tuple(remaining[:count])))
            remaining = remaining[count:]
        return replace(self, input_panel=input_panel, networks=tuple(networks))

    @property
    def n_classes(self) -> int:
        """Number of classes of the targets, the networks' outputs or the names, whichever is largest.

        It is 0 without targets and outputs, even if there are names, and in a multi-label task.
        """
        if self.label_sets is not None:
            return 0
        counts = [network.probabilities.shape[1] for network in self.networks if network.probabilities is not None]
        if self.targets is not None and len(self.targets):
            counts.append(int(self.targets.max()) + 1)
        return max(*counts, len(self.class_names)) if counts else 0

    @property
    def names_of_classes(self) -> tuple[str, ...]:
        """The given names; a class without one has its number, one with a blank name its number in brackets."""
        return complete_names(self.class_names, self.n_classes)

    @property
    def names_of_labels(self) -> tuple[str, ...]:
        """The same of the labels of a multi-label task."""
        return () if self.label_sets is None else complete_names(self.class_names, self.label_sets.shape[1])

    @property
    def colors_of_classes(self) -> list[str]:
        """The given colours, followed by the page's own for the other classes."""
        given = list(self.class_colors)[: self.n_classes]
        return given + class_colors(self.n_classes)[len(given) :]

    def labels(self, network: Network | None = None) -> NDArray[np.int64] | None:
        """Return the labels that votes are counted on: the targets or, without them, the network's predictions."""
        if self.targets is not None:
            return self.targets
        return None if network is None or self.label_sets is not None else network.predictions


def shortened(name: str, longest: int) -> str:
    """Return a name of at most so many letters, cut in its middle: names often differ at their ends."""
    if len(name) <= longest:
        return name
    end = (longest - 1) // 2
    return f"{name[: longest - 1 - end]}…{name[-end:]}"
