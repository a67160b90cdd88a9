"""What is served: the layers of a store, and what is known about its samples."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from torchviz_layers._common.predictions import Predictions, predictions_for
from torchviz_layers.data.recording import Shown
from torchviz_layers.exceptions import StoreError
from torchviz_layers.extraction import Activations
from torchviz_layers.live.labels import about_samples, matching_rows, true_labels
from torchviz_layers.page.thumbnails import MAX_SIDE, thumbnails
from torchviz_layers.panels import INPUT

if TYPE_CHECKING:
    from torchviz_layers.data import Samples
    from torchviz_layers.data.targets import Targets

MIN_SAMPLES = 5  # with fewer, neighbourhoods and the linear probe are meaningless


@dataclass(frozen=True)
class Source:
    """Samples and one network's layer outputs for them, rows in the order of the store.

    Parameters
    ----------
    path, name
        The store, and the name of its network, which is that of the store.
    layers
        Arrays of shape (n_samples, ...) in forward order; the input first, if the data have one that is numbers.
    ids
        One id a sample, of shape (n_samples,).
    labels
        The true classes, values or label sets with their task and names; None if they are not known.
    predictions
        What the network predicts.
    shown
        Pictures of shape (n_samples, channels, height, width), texts, rows or series, if there are data.
    thumbnails
        Pictures of the store, uint8 of shape (n_samples, height, width, channels), where there are no data; or None.
    columns
        The reader's own columns, of shape (n_samples,).
    input_layer
        Name of the layer that is the input itself; empty if there is none.
    notes
        Sentences that the reader should not miss.
    """

    path: Path
    name: str
    layers: Mapping[str, Any]
    ids: NDArray[Any]
    labels: Targets | None = None
    predictions: Predictions = field(default_factory=Predictions)
    shown: Shown = field(default_factory=lambda: Shown("id"))
    thumbnails: Any = None
    columns: Mapping[str, NDArray[Any]] = field(default_factory=dict)
    input_layer: str = ""
    notes: tuple[str, ...] = ()

    @property
    def n_samples(self) -> int:
        """Number of samples."""
        return len(self.ids)

    @property
    def task(self) -> str | None:
        """What the targets are for: "classification", "regression" or "multilabel"; None without targets."""
        return None if self.labels is None else self.labels.task

    @property
    def targets(self) -> NDArray[Any] | None:
        """Targets as their task has them, of shape (n_samples, ...), or None."""
        return None if self.labels is None else self.labels.values

    def read(self, layer: str, rows: NDArray[np.int64]) -> Any:
        """Return the rows of a layer, in the order given."""
        values = _take(self.layers[layer], rows, self.n_samples)
        # The input of pictures is what networks are fed, floats in [0, 1].
        is_bytes = layer == self.input_layer and values.dtype == np.uint8
        return values.astype(np.float32) / 255 if is_bytes else values

    def pictures(self, rows: NDArray[np.int64]) -> Any:
        """Return pictures of shape (n, channels, height, width), or None if there are none."""
        if self.shown.images is not None:
            return _take(self.shown.images, rows, self.n_samples)
        if self.thumbnails is None:
            return None
        return np.moveaxis(np.asarray(_take(self.thumbnails, rows, self.n_samples)), -1, 1)


def open_source(store: str | Path | Activations, samples: Samples | None = None) -> Source:
    """Return what is served from a store, with what `samples` show, their labels, names and columns.

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
    rows = None if samples is None else matching_rows(path, acts.ids, samples)
    labels, about_labels = true_labels(path, acts, samples, rows)
    shown: Shown = Shown("id")
    columns: dict[str, NDArray[Any]] = {}
    layers, input_layer = dict(acts), ""
    if samples is not None and rows is not None:
        shown = _one_size(samples.shown.take(rows))
        columns = {name: values[rows] for name, values in samples.columns.items()}
        values, input_layer, about_input = _input(samples, shown)
        if input_layer:
            # A layer of the network may have the name of the input.
            input_layer = f"{input_layer} (of the data)" if input_layer in layers else input_layer
            layers = {input_layer: values, **layers}
        notes += [samples.notice, about_input]
    names_given = samples.names_given if samples is not None else bool(about_samples(acts).get("class_names"))
    predictions = predictions_for(
        "the network",
        acts.predictions,
        None if labels is None else labels.task,
        () if labels is None else labels.class_names,
        names_assumed=not names_given,
    )
    notes += [*about_labels, *predictions.notes]
    return Source(
        path=path,
        name=path.stem,
        layers=layers,
        ids=acts.ids,
        labels=labels,
        predictions=predictions,
        shown=shown,
        thumbnails=acts.thumbnails if samples is None else None,
        columns=columns,
        input_layer=input_layer,
        notes=tuple(dict.fromkeys(filter(None, notes))),
    )


def _one_size(shown: Shown) -> Shown:
    """Return what is shown with pictures of different sizes brought to one, (n, channels, height, width)."""
    if not isinstance(shown.images, list):
        return shown
    return replace(shown, images=np.moveaxis(thumbnails(shown.images), -1, 1))


def _input(samples: Samples, shown: Shown) -> tuple[Any, str, str]:
    """Return the input as an array (n_samples, ...), the name of its layer, and a note; without a name it has none."""
    images = shown.images
    if images is not None and max(images.shape[2:]) > MAX_SIDE:  # more pixels than a panel of the input needs
        images = np.moveaxis(thumbnails(images), -1, 1)
    kinds: dict[str, Any] = {"thumbnails": images, "all columns": shown.rows, "means": shown.series}
    for kind, values in kinds.items():
        if values is None:
            continue
        if not np.isfinite(values).all():
            return None, "", "the input contains NaN or infinity, or is of different lengths: it has no panel"
        inputs = next(samples.batches(1))[0]
        fed = getattr(inputs, "shape", None)
        # Pictures and series are shown smaller than they are fed, if they are large.
        is_whole = fed is None or np.prod(fed[1:]) == np.prod(values.shape[1:])
        return values, INPUT if is_whole else f"{INPUT} ({kind})", ""
    return None, "", ""


def _take(array: Any, rows: NDArray[np.int64], n: int) -> Any:
    """Return rows of a NumPy or Zarr array."""
    if len(rows) == n and (rows == np.arange(n)).all():
        return array[:]
    # Zarr's `oindex` reads only the chunks that contain the rows.
    return array.oindex[rows] if hasattr(array, "oindex") else array[rows]
