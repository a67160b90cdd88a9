"""From what the layers output to the page's data: embedded, measured, with predictions and corner cases."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import nn
from tqdm import tqdm

from torchviz_layers._common.predictions import predictions_for
from torchviz_layers.data import Samples
from torchviz_layers.extraction import input_column
from torchviz_layers.hooks import list_layers
from torchviz_layers.models import trained_on
from torchviz_layers.page import Network, PageData, Panel
from torchviz_layers.page.thumbnails import thumbnails
from torchviz_layers.panels import INPUT, checked_rows, compose, measured_panel
from torchviz_layers.reducers import Reducer, embed

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from torchviz_layers._common.arrays import CheckedRows
    from torchviz_layers.extraction import Activations

# The field of `PageData` that the targets of a task are in.
_TRUTH = {"classification": "targets", "regression": "values", "multilabel": "label_sets"}


class _LayerRows:
    """The rows of each network's layers, checked. Rows on disk are read whenever they are needed, and not kept."""

    def __init__(self, captured: Mapping[str, Activations]) -> None:
        self._captured = captured
        self._in_memory: dict[tuple[str, str], CheckedRows] = {}

    def __call__(self, network: str, layer: str) -> CheckedRows:
        known = self._in_memory.get((network, layer))
        if known is not None:
            return known
        array = self._captured[network][layer]
        rows = checked_rows(layer, array)
        # The check reads all rows, so it is made once; rows of an array in memory share that array's memory.
        if isinstance(array, np.ndarray):
            self._in_memory[network, layer] = rows
        return rows


class Stages:
    """Everything after the forward passes: embeddings, measures, predictions and corner cases of one page.

    Parameters
    ----------
    models, captured
        The networks, and what the layers of each output for the samples.
    samples, of_input
        The samples, after they were read, and their inputs, if they were extracted.
    reducer, device
        What embeds the layers, and where neighbours and measures are computed.
    """

    def __init__(
        self,
        models: Mapping[str, nn.Module],
        captured: Mapping[str, Activations],
        samples: Samples,
        of_input: Activations,
        reducer: Reducer,
        device: str | torch.device,
    ) -> None:
        self.models, self.captured, self.samples = models, captured, samples
        self.reducer, self.device = reducer, device
        self.rows = _LayerRows(captured)
        self.input = _InputRows.of(of_input, samples)
        # What the first layer of each network is aligned with: the input or, without it, the first layer of all.
        self.reference: NDArray[np.float32] | None = None
        self.engine = ""
        self.notes: list[str] = []

    def page_data(self, title: str | None, *, progress: bool) -> PageData:
        """Embed and measure all layers, and return what the page shows."""
        samples, shown = self.samples, self.samples.shown
        n_panels = sum(map(len, self.captured.values())) + (self.input is not None)
        silent = None if progress else True
        with tqdm(total=n_panels, desc="embedding", unit="layer", delay=2, leave=False, disable=silent) as bar:
            input_panel = None
            if self.input is not None:
                input_panel = self._panel(self.input.name, self.input.rows, None, bar, shape=self.input.shape)
            networks = [self._network(name, acts, bar) for name, acts in self.captured.items()]
        truth: dict[str, Any] = {}
        if samples.task is not None:
            truth[_TRUTH[samples.task]] = samples.targets
        notes = [out_of_distribution(self.models, samples.dataset), samples.notice, self.engine, *self.notes]
        draft = PageData(
            title=title or samples.name,
            networks=tuple(networks),
            images=shown.images,
            texts=shown.texts,
            rows=shown.rows,
            row_names=shown.row_names,
            series=shown.series,
            class_names=samples.class_names,
            ids=samples.ids,
            columns=samples.columns,
            input_panel=input_panel,
            notes=tuple(filter(None, notes)),
            **truth,
        )
        return compose(draft, self._rows_of_panels(), device=self.device).data

    def _network(self, name: str, acts: Activations, bar: tqdm[Any]) -> Network:
        """Return one network with the panels of its layers and its predictions."""
        kinds = {layer.name: layer.kind for layer in list_layers(self.models[name])}
        panels = []
        previous = self.reference
        for step, layer in enumerate(acts):
            about_layer = {
                "shape": tuple(acts[layer].shape[1:]),
                "kind": kinds.get(layer.partition(":")[0], ""),  # all calls of a module are of its kind
                "peer": self._peer(name, step),
            }
            panels.append(self._panel(layer, self.rows(name, layer), previous, bar, **about_layer))
            previous = panels[-1].Z
        predictions = predictions_for(
            name,
            acts.predictions,
            self.samples.task,
            self.samples.class_names,
            names_assumed=not self.samples.names_given,
        )
        self.notes += predictions.notes
        return Network(name, tuple(panels), predictions.probabilities, predictions.values)

    def _panel(
        self, layer: str, rows: CheckedRows, reference: NDArray[np.float32] | None, bar: tqdm[Any], **about_layer: Any
    ) -> Panel:
        """Embed one layer, aligned with `reference`, and measure it."""
        # The page shows every sample's neighbours, which a layer that is fitted on some of the rows does not have.
        embedding = embed(
            {layer: rows},
            reducer=self.reducer,
            fit_on=len(rows),
            reference=reference,
            device=self.device,
            progress=False,
        )[layer]
        if self.reference is None:
            self.reference = embedding.Z
            self.engine = f"embedded by {embedding.engine} ({embedding.reason})"
        about_samples: dict[str, Any] = {"task": self.samples.task, "device": self.device}
        panel = measured_panel(layer, rows, embedding, self.samples.targets, **about_samples, **about_layer)
        bar.update()
        return panel

    def _peer(self, name: str, step: int) -> CheckedRows | None:
        """Return the layer at the same relative depth of the network that this one is compared with by CKA.

        Two networks are compared with each other, more with the first.
        """
        first, *others = self.captured
        if name != first:
            peer = first
        elif len(others) == 1:
            peer = others[0]
        else:
            return None
        depth = step / max(1, len(self.captured[name]) - 1)
        layers = list(self.captured[peer])
        return self.rows(peer, layers[round(depth * (len(layers) - 1))])

    def _rows_of_panels(self) -> Callable[[int], CheckedRows]:
        """Return a function that takes the number of a panel of the page and returns its rows."""
        of_networks = [(name, layer) for name, acts in self.captured.items() for layer in acts]
        # The panel of the input is the first, if there is one.
        n_before = int(self.input is not None)

        def read(number: int) -> CheckedRows:
            if number < n_before:
                assert self.input is not None
                return self.input.rows
            return self.rows(*of_networks[number - n_before])

        return read


@dataclass(frozen=True)
class _InputRows:
    """The rows of the panel of the samples themselves, its name, and the shape of one sample."""

    rows: CheckedRows
    name: str
    shape: tuple[int, ...]

    @classmethod
    def of(cls, of_input: Activations, samples: Samples) -> _InputRows | None:
        """Return the inputs or, of larger pictures, the thumbnails; None for texts and for samples shown by ids."""
        values, _why_not = input_column(of_input)
        if values is not None:
            return cls(checked_rows(INPUT, values), INPUT, _input_shape(values.shape[1], samples))
        images = samples.shown.images
        if images is None:
            return None
        pixels = thumbnails(images)  # (n, height, width, channels)
        name = f"{INPUT} (thumbnails)"
        return cls(checked_rows(name, pixels.astype(np.float32) / 255), name, tuple(pixels.shape[1:]))


def _input_shape(n_features: int, samples: Samples) -> tuple[int, ...]:
    """Return the shape of one sample, whose numbers are extracted as a row; where it isn't known, that of the row."""
    for values in (samples.shown.images, samples.shown.series):
        shape = tuple(getattr(values, "shape", ())[1:])
        if np.prod(shape) == n_features:
            return shape
    return (n_features,)


def out_of_distribution(models: Mapping[str, nn.Module], dataset: str) -> str:
    """Return a sentence on the networks that are known to be trained on other data; empty if there are none.

    `dataset` is the name under which the samples are known; it is empty for the user's own data.
    """
    others = []
    if dataset:
        others = [name for name, model in models.items() if trained_on(model) not in (None, dataset)]
    if not others:
        return ""
    was = "was" if len(others) == 1 else "were"
    return f"out of distribution: {' and '.join(others)} {was} trained on MNIST, and {dataset} is other data"
