"""The batches of one model, one after another: each is run and its rows are put into a buffer."""

from __future__ import annotations

import logging
from dataclasses import dataclass, replace

import torch

from torchviz_layers._common.devices import is_out_of_memory
from torchviz_layers.exceptions import CaptureError
from torchviz_layers.extraction.destination import Destination
from torchviz_layers.extraction.options import ExtractOptions
from torchviz_layers.extraction.runner import Runner
from torchviz_layers.extraction.thumbnails import thumbnails
from torchviz_layers.extraction.writer import RowBuffer, RowWriter
from torchviz_layers.hooks.batches import Batch

_log = logging.getLogger("torchviz_layers")


@dataclass
class BatchStream:
    """Runs one batch after another and puts its rows into the buffer."""

    options: ExtractOptions
    destination: Destination
    buffer: RowBuffer
    runner: Runner
    stop: int = 0
    """Row after the last batch that was run."""
    largest: int | None = None
    """Largest batch that the card has memory for, once one did not fit."""

    @property
    def writer(self) -> RowWriter:
        """The writer of the layers' rows."""
        return self.runner.writer

    def add(self, batch: Batch, start: int) -> None:
        """Run a batch whose first sample is `start`."""
        if start != self.stop:
            # Batches were skipped, whose rows are stored or another process's: the table's windows start at this one.
            self.buffer.settle()
            self.destination.move_to(start, start + batch.size)
        is_first = self.stop == 0
        # Modules that this model shares with another one run in that one's batches, too.
        self.runner.hooks.paused = False
        try:
            # Ids from the row now: parts of the batch would count from 0.
            self._run_in_parts(replace(batch, ids=batch.ids_from(start)), start)
        finally:
            self.runner.hooks.paused = True
        self.stop = start + batch.size
        if is_first:
            self._check_first(batch.size)
        else:
            self.destination.check_memory(self.writer.skipped)

    def _check_first(self, batch_size: int) -> None:
        """Report layers that cannot be recorded, and decide where the rows go, now that their sizes are known."""
        self.buffer.settle()
        self.writer.check_ran()
        self.destination.table.check_skipped(self.writer.without_rows)
        self.destination.set_up(batch_size, self.writer.skipped)

    def end(self) -> None:
        """Wait for the rows that are on their way."""
        self.buffer.settle()
        self.destination.check_memory(self.writer.skipped)

    def _run_in_parts(self, batch: Batch, start: int) -> None:
        """Run a batch; where the card's memory is too small for it, in halves, and in halves of these.

        A size that fits is kept for the batches that follow, so that each failure costs one pass in all.
        """
        done = 0
        while done < batch.size:
            size = min(self.largest or batch.size, batch.size - done)
            try:
                self._run_part(batch.part(done, done + size), start + done)
            except RuntimeError as error:
                if not is_out_of_memory(error):
                    raise
                if size == 1:
                    raise CaptureError("device: its memory is too small for one sample; choose fewer layers") from error
            else:
                done += size
                continue
            # Here and not in the `except` block: the error's traceback refers to the tensors of the forward pass, and
            # only now are they gone, so that their memory can be given back to the card.
            self.runner.hooks.reset()
            self.largest = (size + 1) // 2
            torch.cuda.empty_cache()
            _log.warning(
                "out of memory on %s with %d samples at a time; continuing with %d",
                self.runner.device, size, self.largest,
            )  # fmt: skip

    def _run_part(self, batch: Batch, start: int) -> None:
        buffer = self.buffer
        buffer.begin(start, batch.size)
        if self.stop == 0:
            self.runner.find_axes(batch)
        # The layers' rows are put into the buffer by the hooks, during this call.
        predictions = self.runner.run(batch, start)
        if predictions is not None:
            buffer.put("predictions", predictions, layer=False)
        if batch.targets is not None:
            buffer.put("targets", batch.targets, layer=False)
        if self.options.thumbnails is not None:
            buffer.put("thumbnails", thumbnails(batch.inputs, self.options.thumbnails), layer=False)
        # `ids` last: a chunk of them means that the same chunk of everything else is stored.
        assert batch.ids is not None
        buffer.put("ids", batch.ids, layer=False)
        buffer.commit()
