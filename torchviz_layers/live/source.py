"""What is served: the layers of a store, and what is known about its samples."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from torchviz_layers._common.predictions import probabilities_for
from torchviz_layers.data import Samples
from torchviz_layers.exceptions import DataError, StoreError
from torchviz_layers.extraction import Activations
from torchviz_layers.panels import INPUT

MIN_SAMPLES = 5  # with fewer, neighbourhoods and the linear probe are meaningless


@dataclass(frozen=True)
class Source:
    """Samples and one network's layer outputs for them, rows in the order of the store.

    Parameters
    ----------
    path, name
        The store, and the name of its network, which is that of the store.
    layers
        Arrays of shape (n_samples, ...) in forward order; the images first, if the data have them.
    ids, targets, class_names, probabilities
        As in `PageData`.
    images
        Pictures of shape (n_samples, channels, height, width), or (n_samples, height, width, channels) from the store.
    channels_last
        Which of the two shapes the images have.
    notes
        Sentences that the reader should not miss.
    """

    path: Path
    name: str
    layers: Mapping[str, Any]
    ids: NDArray[Any]
    targets: NDArray[np.int64] | None = None
    class_names: tuple[str, ...] = ()
    probabilities: NDArray[np.float32] | None = None
    images: Any = None
    channels_last: bool = False
    notes: tuple[str, ...] = ()

    @property
    def n_samples(self) -> int:
        """Number of samples."""
        return len(self.ids)

    @property
    def has_input(self) -> bool:
        """Whether the first layer is the input itself, which the data brought."""
        return self.images is not None and not self.channels_last

    def read(self, layer: str, rows: NDArray[np.int64]) -> Any:
        """Return the rows of a layer, in the order given."""
        return _take(self.layers[layer], rows, self.n_samples)

    def pictures(self, rows: NDArray[np.int64]) -> Any:
        """Return pictures of shape (n, channels, height, width), or None if there are none."""
        if self.images is None:
            return None
        taken = _take(self.images, rows, self.n_samples)
        return np.moveaxis(np.asarray(taken), -1, 1) if self.channels_last else taken


def open_source(store: str | Path | Activations, samples: Samples | None = None) -> Source:
    """Return what is served from a store, with the pictures, labels and names of `samples`.

    Raises
    ------
    StoreError
        If there is no store, or it contains too few samples to embed.
    DataError
        If `samples` are not those that the store was made from.
    """
    acts = store if isinstance(store, Activations) else Activations.load(store)
    path = acts.path or Path("activations")
    if not len(acts) or acts.n_samples < MIN_SAMPLES:
        raise StoreError(
            f"{path}: {acts.n_samples} samples of {len(acts)} layers; at least {MIN_SAMPLES} samples of one layer are "
            "needed (if an extraction is still running, try again when its first chunks are written)"
        )
    notes = [] if acts.complete else [f"the store is not complete: its first {acts.n_samples:,} samples are shown"]
    targets = _classes(acts.targets)
    if acts.targets is not None and targets is None:
        notes.append("the targets are not class numbers and are not shown")
    images, channels_last = acts.thumbnails, True
    class_names: tuple[str, ...] = ()
    layers = dict(acts)
    if samples is not None:
        rows = _matched(path, acts.ids, targets, samples)
        images, channels_last = samples.shown.images[rows], False
        class_names = samples.class_names
        if targets is None and samples.targets is not None:
            targets = samples.targets[rows]
        # A layer of the network may have the name of the input.
        name = f"{INPUT} (images)" if INPUT in layers else INPUT
        layers = {name: images, **layers}
        notes.append(samples.notice)
    probabilities, about_outputs = probabilities_for("the network", acts.predictions, class_names)
    notes += about_outputs
    return Source(
        path=path,
        name=path.stem,
        layers=layers,
        ids=acts.ids,
        targets=targets,
        class_names=class_names,
        probabilities=probabilities,
        images=images,
        channels_last=channels_last,
        notes=tuple(filter(None, notes)),
    )


def _take(array: Any, rows: NDArray[np.int64], n: int) -> Any:
    """Return rows of a NumPy or Zarr array."""
    if len(rows) == n and (rows == np.arange(n)).all():
        return array[:]
    # Zarr's `oindex` reads only the chunks that contain the rows.
    return array.oindex[rows] if hasattr(array, "oindex") else array[rows]


def _classes(targets: NDArray[Any] | None) -> NDArray[np.int64] | None:
    """Return targets (n,) that are class numbers as int64, others as None."""
    if targets is None or targets.ndim != 1 or targets.dtype.kind not in "iu" or targets.min(initial=0) < 0:
        return None
    return targets.astype(np.int64)


def _matched(path: Path, ids: NDArray[Any], targets: NDArray[np.int64] | None, samples: Samples) -> NDArray[np.int64]:
    """Return the row in `samples` of every id; raise `DataError` if they are not the same samples."""
    row_of = {name: row for row, name in enumerate(samples.ids.tolist())}
    missing = [name for name in ids.tolist() if name not in row_of]
    if missing:
        raise DataError(
            f"data: {samples.name} has no sample {missing[0]!r} ({len(missing):,} of the {len(ids):,} ids of {path} "
            "are not in it); give the data that the store was made from"
        )
    rows = np.array([row_of[name] for name in ids.tolist()], np.int64)
    if targets is not None and samples.targets is not None:
        differ = int((targets != samples.targets[rows]).sum())
        if differ:
            raise DataError(
                f"data: {differ:,} of {len(ids):,} targets of {samples.name} differ from those of {path}; "
                "give the data that the store was made from"
            )
    return rows
