"""What is served: the layers of a store, and all that is known of its samples."""

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
from torchviz_layers.pipeline import INPUT

MIN_SAMPLES = 5  # below, neighbourhoods and the linear probe mean nothing


@dataclass(frozen=True)
class Source:
    """Samples and what the layers of one network answered to them, rows in the order of the store.

    Parameters
    ----------
    path, name
        The store, and what its network is called: the store's name, which the reader chose.
    layers
        Arrays of shape (n_samples, ...) in forward order; the images first, where the data brought them.
    ids, targets, class_names, probabilities
        What is known of the samples, as in `PageData`.
    images
        Pictures of shape (n_samples, channels, height, width), or (n_samples, height, width, channels) from the store.
    channels_last
        Which of the two.
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

    def read(self, layer: str, rows: NDArray[np.int64]) -> Any:
        """Return the rows of a layer, in the order given."""
        return _take(self.layers[layer], rows, self.n_samples)

    def pictures(self, rows: NDArray[np.int64]) -> Any:
        """Return pictures of shape (n, channels, height, width), or None where there are none."""
        if self.images is None:
            return None
        taken = _take(self.images, rows, self.n_samples)
        return np.moveaxis(np.asarray(taken), -1, 1) if self.channels_last else taken


def open_source(store: str | Path | Activations, samples: Samples | None = None) -> Source:
    """Return what is served from a store, with the pictures, labels and names that `samples` bring.

    Raises
    ------
    StoreError
        If there is no store, or too little in it to be laid out.
    DataError
        If `samples` are not those that the store was made from.
    """
    acts = store if isinstance(store, Activations) else Activations.load(store)
    path = acts.path or Path("activations")
    if not len(acts) or acts.n_samples < MIN_SAMPLES:
        raise StoreError(
            f"{path}: {acts.n_samples} samples of {len(acts)} layers; at least {MIN_SAMPLES} samples of one layer are "
            "laid out (an extraction under way needs its first chunks: try again later)"
        )
    notes = [] if acts.complete else [f"the store is not complete: its first {acts.n_samples:,} samples"]
    targets = _classes(acts.targets)
    if acts.targets is not None and targets is None:
        notes.append("targets that are no class numbers are not shown")
    found: dict[str, Any] = {"images": acts.thumbnails, "channels_last": True}
    layers = dict(acts)
    if samples is not None:
        rows = _matched(path, acts.ids, targets, samples)
        images = samples.images[rows]
        found = {"images": images, "class_names": samples.class_names}
        targets = samples.targets[rows] if targets is None and samples.targets is not None else targets
        layers = {INPUT if INPUT not in layers else f"{INPUT} (images)": images, **layers}
        notes.append(samples.notice)
    class_names = samples.class_names if samples is not None else ()
    probabilities, about_outputs = probabilities_for("the network", acts.predictions, class_names)
    notes += about_outputs
    return Source(
        path=path,
        name=path.stem,
        layers=layers,
        ids=acts.ids,
        targets=targets,
        probabilities=probabilities,
        notes=tuple(filter(None, notes)),
        **found,
    )


def _take(array: Any, rows: NDArray[np.int64], n: int) -> Any:
    if len(rows) == n and (rows == np.arange(n)).all():
        return array[:]
    return array.oindex[rows] if hasattr(array, "oindex") else array[rows]  # Zarr reads only the chunks it needs


def _classes(targets: NDArray[Any] | None) -> NDArray[np.int64] | None:
    if targets is None or targets.ndim != 1 or targets.dtype.kind not in "iu" or targets.min(initial=0) < 0:
        return None
    return targets.astype(np.int64)


def _matched(path: Path, ids: NDArray[Any], targets: NDArray[np.int64] | None, samples: Samples) -> NDArray[np.int64]:
    """Return the row in `samples` of every id; raise `DataError` where they are other samples."""
    places = {name: row for row, name in enumerate(samples.ids.tolist())}
    missing = [name for name in ids.tolist() if name not in places]
    if missing:
        raise DataError(
            f"data: {samples.name} has no sample {missing[0]!r} ({len(missing):,} of the {len(ids):,} ids of {path} "
            "are not in it); give the data that the store was made from"
        )
    rows = np.array([places[name] for name in ids.tolist()], np.int64)
    if (
        targets is not None
        and samples.targets is not None
        and (differ := int((targets != samples.targets[rows]).sum()))
    ):
        raise DataError(
            f"data: {differ:,} of {len(ids):,} targets of {samples.name} differ from those of {path}; "
            "give the data that the store was made from"
        )
    return rows
