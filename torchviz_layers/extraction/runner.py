"""The forward passes of an extraction."""

from __future__ import annotations

from contextlib import nullcontext
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor

from torchviz_layers._common.devices import is_out_of_memory
from torchviz_layers.extraction.options import ExtractOptions
from torchviz_layers.extraction.rows import prediction_rows
from torchviz_layers.extraction.sample_axes import run_probe
from torchviz_layers.extraction.stopping import StopForward
from torchviz_layers.extraction.writer import RowWriter
from torchviz_layers.hooks.arguments import copy_of, type_hint, versions_of
from torchviz_layers.hooks.batches import Batch, as_arguments
from torchviz_layers.hooks.forward_hooks import ForwardHooks
from torchviz_layers.hooks.modules import ModuleTree


@dataclass
class Runner:
    """Runs batches through the model while `hooks` passes the layers' outputs to `writer`."""

    tree: ModuleTree
    options: ExtractOptions
    device: torch.device
    writer: RowWriter
    hooks: ForwardHooks
    _has_predictions: bool = True
    """The model's final output may be a row a sample."""
    _prediction_shape: tuple[int, ...] = ()
    """Its shape for another number of samples, where that is known."""
    _copies_inputs: bool = False
    """The model changes its inputs in place, or it is not known whether it does: it gets copies."""

    def find_axes(self, batch: Batch) -> None:
        """Run the first samples of the first batch, another number than it has, to find the axes of the samples."""
        reader = self.writer.reader
        probe = reader.axes.probe
        if probe is not None and probe.size != batch.size:
            return  # done before: the batch is a part of one that was too large for the card's memory

        def forward(size: int) -> Any:
            part = batch.of_size(size)
            copy = replace(part, inputs=copy_of(part.inputs))
            versions = versions_of(copy.inputs)
            output = self._call(copy)
            self._copies_inputs = versions_of(copy.inputs) != versions
            return output

        # The probe has hooks of its own; its rows are not to be written.
        self.hooks.paused = True
        try:
            at = self.options.record.at
            reader.axes, size, output = run_probe(self.tree, at, reader.tensor, forward, batch.size)
        finally:
            self.hooks.paused = False
        failed = size == 0
        rows = prediction_rows(output, size)
        # Where no pass succeeded, nothing is known: inputs are copied and every output may be predictions.
        self._copies_inputs |= failed
        self._has_predictions = failed or rows is not None
        self._prediction_shape = () if rows is None else tuple(rows.shape)

    def run(self, batch: Batch, start: int) -> Tensor | None:
        """Run the batch that begins with sample `start`; return its predictions, if they are wanted and rows."""
        self.writer.batch, self.writer.start = batch, start
        if self._copies_inputs:
            # The loader may yield the same tensors again, and thumbnails are made of them afterwards.
            batch = replace(batch, inputs=copy_of(batch.inputs))
        try:
            output = self._call(batch)
        except StopForward:
            self.hooks.reset()
            return None
        except RuntimeError as error:
            if is_out_of_memory(error):
                raise  # the caller runs half of the batch
            hint = type_hint(self.tree.root.module, batch.inputs, error)
            if hint:
                raise RuntimeError(f"{str(error).strip()}{hint}") from error
            raise
        self.writer.stop.end()  # a whole forward pass, which the rule learns from
        if not self.options.predictions or not self._has_predictions:
            return None
        return prediction_rows(output, batch.size, self._prediction_shape, *self._prediction_shape[:1])

    def _call(self, batch: Batch) -> Any:
        args, kwargs = as_arguments(batch.inputs, self.device)
        autocast = self.options.autocast
        with torch.autocast(self.device.type, autocast) if autocast is not None else nullcontext():
            return self.tree.root.module(*args, **kwargs)
