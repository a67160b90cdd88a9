"""What a page is built from: arrays and small records, nothing of torch or of a model."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from torchviz_layers.exceptions import PageError
from torchviz_layers.page.palette import class_colors

MAX_NETWORKS = 2


class CornerCaseLike(Protocol):
    """A sample worth a look, as `find_corner_cases` returns it."""

    @property
    def kind(self) -> str:
        """Name of the kind, one queue of the page each."""

    @property
    def sample(self) -> int:
        """Row of the sample."""

    @property
    def score(self) -> float:
        """How strong the case is, the strongest first within its kind."""

    @property
    def reason(self) -> str:
        """One sentence for the reader."""


@dataclass(frozen=True)
class Panel:
    """One layer of one network, laid out in two dimensions.

    Parameters
    ----------
    layer
        The layer's name.
    Z
        Embedding of shape (n_samples, 2). A row with NaN or infinity is not drawn; the page says how many.
    neighbors
        Rows of the nearest neighbours in ACTIVATION space, nearest first, of shape (n_samples, k); the page shows 8.
    purity
        Share of a sample's neighbours in activation space that carry its label, averaged, in [0, 1].
    probe_accuracy
        Accuracy of a linear probe on the activations, in [0, 1].
    trustworthiness
        How far the plane's neighbourhoods are true to activation space, in [0, 1]: low values get a warning badge.
    cka
        Linear CKA with the other network's nearest layer in depth, in [0, 1].
    kind, shape
        Kind of the layer and shape of one sample's activation, for its caption.
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

    def take(self, rows: NDArray[np.int64]) -> Panel:
        """Return the panel of these rows alone, without neighbours unless all that they name are among the rows.

        A neighbour list with holes would show a wrong neighbourhood.
        """
        near = None
        if self.neighbors is not None:
            position = np.full(len(self.Z), -1)
            position[rows] = np.arange(len(rows))
            near = position[self.neighbors[rows]]
        return replace(self, Z=self.Z[rows], neighbors=None if near is None or (near < 0).any() else near)


@dataclass(frozen=True)
class Network:
    """One network: its layers in forward order and, where it classifies, what it answers.

    Parameters
    ----------
    name
        The network's name, as the reader knows it.
    panels
        Its layers in forward order, without the input.
    probabilities
        Class probabilities of shape (n_samples, n_classes), or None for a network that does not classify.
    accuracy_of_all
        Accuracy on all samples where those shown are a part of them, chosen to keep every error.
    """

    name: str
    panels: tuple[Panel, ...]
    probabilities: NDArray[np.float32] | None = None
    accuracy_of_all: float | None = None

    @property
    def predictions(self) -> NDArray[np.int64] | None:
        """Class with the highest probability, of shape (n_samples,); NaN counts as 0."""
        if self.probabilities is None:
            return None
        return np.asarray(np.argmax(np.nan_to_num(self.probabilities, nan=0.0), axis=1), dtype=np.int64)

    def accuracy(self, targets: NDArray[np.int64] | None) -> float | None:
        """Share of the samples whose most probable class is the target, in [0, 1]; None where either is unknown."""
        if self.accuracy_of_all is not None:
            return self.accuracy_of_all
        if targets is None or self.predictions is None or not len(targets):
            return None
        return float(np.mean(self.predictions == targets))


@dataclass(frozen=True)
class PageData:
    """All that a page shows.

    Parameters
    ----------
    title
        Name of what is shown ("MNIST test digits"), for the window's title and the line under the headline.
    networks
        One or two networks over the same samples.
    images
        Pictures of shape (n_samples, channels, height, width) with 1, 3 or 4 channels, float in [0, 1] or uint8, or a
        sequence of pictures of different sizes; None where there are none.
    texts
        One text a sample, shown where there are no pictures.
    targets
        True classes of shape (n_samples,), or None.
    class_names
        Names of the classes; numbers where there are too few of them.
    ids
        One id a sample; rows where None.
    input_panel
        Layout of the input itself, shared by the networks.
    corner_cases
        What the queue steps through, the most telling first within each kind.
    notes
        Sentences that the reader should not miss: the engine that ran and why, data out of distribution.
    class_colors
        Colours of the classes as ``#rrggbb``; the page's own where there are too few of them.
    count_of_all
        Number of all samples where those shown are a part of them, chosen to keep every error.
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

    @property
    def n_samples(self) -> int:
        """Number of samples."""
        return len(self.panels[0].Z)

    @property
    def panels(self) -> tuple[Panel, ...]:
        """All panels: the input's, then each network's in forward order."""
        shared = () if self.input_panel is None else (self.input_panel,)
        return shared + tuple(panel for network in self.networks for panel in network.panels)

    @property
    def n_classes(self) -> int:
        """Number of classes that a target, a network's output or a name speaks of; 0 without any."""
        outputs = [network.probabilities.shape[1] for network in self.networks if network.probabilities is not None]
        largest = [] if self.targets is None or not len(self.targets) else [int(self.targets.max()) + 1]
        return max([*outputs, *largest, len(self.class_names) if outputs or largest else 0], default=0)

    @property
    def names_of_classes(self) -> tuple[str, ...]:
        """The given names, continued by numbers; a number for a blank one."""
        given = [str(name) if str(name).strip() else f"({code})" for code, name in enumerate(self.class_names)]
        given = given[: self.n_classes]
        return tuple(given + [str(code) for code in range(len(given), self.n_classes)])

    @property
    def colors_of_classes(self) -> list[str]:
        """The given colours, continued by the page's own."""
        given = list(self.class_colors)[: self.n_classes]
        return given + class_colors(self.n_classes)[len(given) :]

    def labels(self, network: Network | None = None) -> NDArray[np.int64] | None:
        """Return what a vote is counted on: the targets or, without them, the network's own predictions."""
        if self.targets is not None:
            return self.targets
        return None if network is None else network.predictions


def check(data: PageData) -> None:
    """Raise `PageError` where the parts do not fit one another; the message names the part and both numbers."""
    if not 1 <= len(data.networks) <= MAX_NETWORKS:
        raise PageError(f"networks: a page shows one or two networks, not {len(data.networks)}; pass one or two")
    if not data.panels or not data.n_samples:
        raise PageError("networks: nothing to show; pass at least one panel with at least one sample")
    for panel in data.panels:
        _check_panel(panel, data.n_samples)
    for name in ("images", "texts", "targets", "ids"):
        part = getattr(data, name)
        if part is not None and len(part) != data.n_samples:
            raise PageError(f"{name}: {len(part)} entries for {data.n_samples} samples; pass one a sample")
    for network in data.networks:
        outputs = network.probabilities
        if outputs is not None and (outputs.ndim != 2 or len(outputs) != data.n_samples):
            raise PageError(
                f"probabilities of {network.name!r}: shape {outputs.shape}; pass ({data.n_samples}, n_classes)"
            )
    for color in data.class_colors:
        if not re.fullmatch("#[0-9a-fA-F]{6}", color):
            raise PageError(f"class_colors: {color!r} is no colour; write it as #rrggbb")
    for case in data.corner_cases:
        if not 0 <= case.sample < data.n_samples:
            raise PageError(f"corner_cases: sample {case.sample} is no row of {data.n_samples}")
    if data.targets is not None and data.targets.min() < 0:
        raise PageError(f"targets: {int(data.targets.min())} is negative; number the classes from 0")


def _check_panel(panel: Panel, n_samples: int) -> None:
    if panel.Z.ndim != 2 or panel.Z.shape != (n_samples, 2):
        raise PageError(f"panel {panel.layer!r}: Z has shape {panel.Z.shape}; a page draws ({n_samples}, 2)")
    near = panel.neighbors
    if near is None:
        return
    if near.ndim != 2 or len(near) != n_samples:
        raise PageError(
            f"panel {panel.layer!r}: neighbors has shape {near.shape}; pass ({n_samples}, k), rows of samples"
        )
    if near.size and not (near.min() >= 0 and near.max() < n_samples):
        raise PageError(f"panel {panel.layer!r}: neighbors name rows {near.min()}..{near.max()} of {n_samples}")
