"""The forward passes of an extraction."""

from __future__ import annotations

from contextlib import nullcontext
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor

from torchviz_layers._common.devices import is_out_of_memory
from torchviz_layers.extraction.axes import run_another_size
from torchviz_layers.extraction.options import Options
from torchviz_layers.extraction.stopping import StopForward
from torchviz_layers.extraction.writer import RowWriter, prediction_rows
from torchviz_layers.hooks.arguments import copy_of, type_hint, versions_of
from torchviz_layers.hooks.batches import Batch, as_arguments
from torchviz_layers.hooks.hooks import ForwardTap
from torchviz_layers.hooks.modules import ModuleTree


@dataclass
class Runner:
    """Runs batches through the model while `tap` passes what its layers output to `writer`."""

    tree: ModuleTree
    options: Options
    device: torch.device
    writer: RowWriter
    tap: ForwardTap
    _predicts: bool = True
    """The model's final output may hold a row a sample."""
    _predicted: tuple[int, ...] = ()
    """The shape of that output for another number of samples."""
    _writes_to_inputs: bool = False
    """The model changes its inputs in place, or it is not known whether it does: it gets copies."""

    def find_axes(self, batch: Batch) -> None:
        """Run another number of the samples of `batch`, the first one, to see which axes follow that number."""
        writer, other = self.writer, self.writer.axes.other
        if other is not None and other.size != batch.size:
            return  # the batch is a part of one that was too large for the card

        def forward(size: int) -> Any:
            part = batch.of_size(size)
            copy = replace(part, inputs=copy_of(part.inputs))
            before = versions_of(copy.inputs)
            output = self._call(copy)
            self._writes_to_inputs = versions_of(copy.inputs) != before
            return output

        self.tap.paused = True
        try:
            writer.axes, size, output = run_another_size(
                self.tree,
                self.options.at,
                writer.tensor,
                forward,
                batch.size,
            )
        finally:
            self.tap.paused = False
        self._writes_to_inputs |= size == 0
        rows = prediction_rows(output, size)
        self._predicts = size == 0 or rows is not None
        self._predicted = () if rows is None else tuple(rows.shape)

    def run(self, batch: Batch, start: int) -> Tensor | None:
        """Run the batch that begins with sample `start`; return its predictions, if wanted and a row a sample."""
        self.writer.batch, self.writer.start = batch, start
        try:
            with self.writer.verified():
                # The loader may hold the same tensors, and thumbnails are made of them afterwards.
                output = self._call(replace(batch, inputs=copy_of(batch.inputs)) if self._writes_to_inputs else batch)
        except StopForward:
            self.tap.reset()
            return None
        except RuntimeError as error:
            if is_out_of_memory(error):
                raise  # the batch is halved
            if hint := type_hint(self.tree.root.module, batch.inputs, error):
                raise RuntimeError(f"{str(error).strip()}{hint}") from error
            raise
        self.writer.stop.end()
        if not self.options.predictions or not self._predicts:
            return None
        return prediction_rows(output, batch.size, self._predicted, *self._predicted[:1])

    def _call(self, batch: Batch) -> Any:
        args, kwargs = as_arguments(batch.inputs, self.device)
        autocast = self.options.autocast
        with torch.autocast(self.device.type, autocast) if autocast is not None else nullcontext():
            return self.tree.root.module(*args, **kwargs)
