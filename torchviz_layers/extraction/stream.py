"""The loop of `extract`: batches in, rows out."""

from __future__ import annotations

import logging
from collections.abc import Iterable
from contextlib import ExitStack
from dataclasses import dataclass, replace
from typing import Any

import torch

from torchviz_layers._common.devices import as_current, is_out_of_memory
from torchviz_layers._common.distributed import worker_group
from torchviz_layers._common.memory import format_bytes
from torchviz_layers.exceptions import CaptureError, DataError
from torchviz_layers.extraction.activations import Activations
from torchviz_layers.extraction.chunks import ChunkShare
from torchviz_layers.extraction.destination import Destination
from torchviz_layers.extraction.model_device import model_on_device
from torchviz_layers.extraction.options import ExtractOptions
from torchviz_layers.extraction.progress import progress_bar
from torchviz_layers.extraction.provenance import data_fingerprint, describe_run, model_fingerprint
from torchviz_layers.extraction.rows import RowReader
from torchviz_layers.extraction.runner import Runner
from torchviz_layers.extraction.staging import StagedTable
from torchviz_layers.extraction.stopping import StopRule
from torchviz_layers.extraction.table import Table
from torchviz_layers.extraction.thumbnails import thumbnails
from torchviz_layers.extraction.writer import RowBuffer, RowWriter
from torchviz_layers.hooks.arguments import check_fit
from torchviz_layers.hooks.batches import Batch, as_arguments, as_batch, check_stable, count_samples, read
from torchviz_layers.hooks.forward_hooks import ForwardHooks
from torchviz_layers.hooks.listing import run_survey
from torchviz_layers.hooks.model_state import evaluation_mode
from torchviz_layers.hooks.modules import ModuleTree

_log = logging.getLogger("torchviz_layers")


@dataclass
class Extraction:
    """What `extract` was called with."""

    tree: ModuleTree
    batches: Iterable[Any]
    options: ExtractOptions

    def run(self) -> Activations:
        """Run every batch through the model and return the rows."""
        options, model = self.options, self.tree.root.module
        with ExitStack() as stack:
            workers = stack.enter_context(worker_group())
            if workers.size > 1 and options.out is None:
                raise CaptureError("under torchrun the processes share a store: give extract(..., out=PATH)")
            device = stack.enter_context(model_on_device(model, options.device))
            stack.enter_context(as_current(device))
            stack.enter_context(evaluation_mode(model))
            total = options.total if options.total is not None else self._count()
            share, streaming = ChunkShare(workers), options.out is not None
            table = Table(total, options.keep_on, options.pad, share=share, streaming=streaming)
            destination = Destination(options, workers, table)
            try:
                rows, stream = self._read_all(device, destination, stack)
            except BaseException:
                destination.keep_partial()
                raise
            if stream is None:  # the store was complete
                return destination.finish(rows, {})
            notice = stream.writer.reader.axes.notice()
            if notice:
                _log.warning("%s", notice)
            return destination.finish(rows, stream.writer.skipped)

    def _read_all(
        self, device: torch.device, destination: Destination, stack: ExitStack
    ) -> tuple[int, BatchStream | None]:
        """Run every batch that is needed; return the number of samples, and no stream if the store was complete."""
        # A first run by one process needs every batch.
        may_skip = self.options.resume or destination.workers.size > 1
        stream: BatchStream | None = None
        stop = 0
        for start, batch in read(self.batches, destination.needs, may_skip=may_skip, as_batch=self._as_batch):
            if stream is None:
                assert isinstance(batch, Batch)  # the first one is always loaded
                stream = self._begin(batch, device, destination, stack)
                if stream is None:
                    return 0, None
            if isinstance(batch, Batch):
                size = batch.size
                # Some loaders cannot skip batches: what is not needed is compared with the store.
                if destination.needs(start, start + size):
                    stream.add(batch, start)
                else:
                    destination.check_ids(batch, start)
            else:
                size = batch  # not loaded, as its rows are not needed
            stop = start + size
            stream.bar.update(size)
        if stream is None:
            raise DataError("batches: the loader yields no sample; a generator can be read only once")
        stream.end()
        return stop, stream

    def _as_batch(self, item: Any) -> Batch:
        return as_batch(item, self.tree.root.module, self.options.inputs)

    def _count(self) -> int | None:
        return count_samples(self.batches, self._as_batch)

    def _begin(
        self, first: Batch, device: torch.device, destination: Destination, stack: ExitStack
    ) -> BatchStream | None:
        """Check the first batch, open the store and put hooks on the model; return None if the store is complete."""
        options, model, workers = self.options, self.tree.root.module, destination.workers
        if options.resume or workers.size > 1:
            check_stable(self.batches, first, options.out, workers.size)
        check_fit(model, *as_arguments(first.inputs, device))
        selection = options.selection
        if selection.positions:  # indices in order of execution, which a forward pass shows
            selection = selection.at(run_survey(self.tree, first.inputs, device).layers)
        destination.provenance = describe_run(model, device, options.settings(selection)) | {
            "model_fingerprint": model_fingerprint(model),
            "data_fingerprint": data_fingerprint(first.inputs, first.ids),
        }
        if options.out is not None and destination.open_store(options.out, self._count):
            return None
        # Rows on a card are copied to memory while it computes; others are written to the table at once.
        staged = device.type == "cuda" and options.keep_on is None
        buffer = StagedTable(destination.table) if staged else destination.table
        reader, stop = RowReader(self.tree, options.record), StopRule(enabled=not options.predictions)
        writer = RowWriter(self.tree, buffer, selection, options, reader, stop)
        hooks = ForwardHooks(self.tree, writer, with_kwargs=options.record.at == "input")
        runner = Runner(self.tree, options, device, writer, stack.enter_context(hooks))
        shown = options.progress and workers.is_first
        bar = stack.enter_context(progress_bar(self.tree.root.kind, destination.table.total, shown=shown))
        return BatchStream(options, destination, buffer, runner, bar)


@dataclass
class BatchStream:
    """Runs one batch after another and puts its rows into the buffer."""

    options: ExtractOptions
    destination: Destination
    buffer: RowBuffer
    runner: Runner
    bar: Any
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
        # Ids from the row now: parts of the batch would count from 0.
        self._run_in_parts(replace(batch, ids=batch.ids_from(start)), start)
        self.stop = start + batch.size
        if is_first:
            self._check_first(batch.size)
        else:
            self.destination.check_memory(self.writer.skipped)

    def _check_first(self, batch_size: int) -> None:
        """Report layers that cannot be recorded, and decide where the rows go, now that their sizes are known."""
        self.buffer.settle()
        self.writer.check_ran()
        table = self.destination.table
        table.check_skipped(self.writer.without_rows)
        if table.total:
            size = format_bytes(table.row_bytes * table.total)
            self.bar.set_description(f"{self.runner.tree.root.kind}, {size}", refresh=False)
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
