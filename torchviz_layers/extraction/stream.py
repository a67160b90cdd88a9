"""The loop of `extract`: batches in, rows out."""

from __future__ import annotations

import logging
import tempfile
from bisect import bisect_left
from collections.abc import Iterable
from contextlib import ExitStack, suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from torchviz_layers._common.devices import as_current, is_out_of_memory
from torchviz_layers._common.distributed import WorkerGroup, worker_group
from torchviz_layers._common.memory import format_bytes, memory_limit
from torchviz_layers.exceptions import CaptureError, DataError, StoreError
from torchviz_layers.extraction.activations import Activations, mask_of, plain_ids
from torchviz_layers.extraction.damage import reading
from torchviz_layers.extraction.device import placed
from torchviz_layers.extraction.options import Options
from torchviz_layers.extraction.progress import progress_bar
from torchviz_layers.extraction.provenance import data_fingerprint, describe_run, model_fingerprint
from torchviz_layers.extraction.runner import Runner
from torchviz_layers.extraction.staging import StagedTable
from torchviz_layers.extraction.stopping import StopRule
from torchviz_layers.extraction.store import Store, check_same, discard, discard_with
from torchviz_layers.extraction.table import Table, check_disk
from torchviz_layers.extraction.thumbnails import thumbnails
from torchviz_layers.extraction.writer import RowWriter
from torchviz_layers.hooks.arguments import check_fit
from torchviz_layers.hooks.batches import Batch, as_arguments, as_batch, check_stable, count_samples, read
from torchviz_layers.hooks.hooks import ForwardTap, forward_only
from torchviz_layers.hooks.listing import run_survey
from torchviz_layers.hooks.modules import ModuleTree
from torchviz_layers.hooks.verify import CloneOracle

_log = logging.getLogger("torchviz_layers")


@dataclass
class Stream:
    """One extraction."""

    tree: ModuleTree
    batches: Iterable[Any]
    options: Options
    table: Table = field(default_factory=Table)
    _workers: WorkerGroup = field(default_factory=WorkerGroup)
    _done: tuple[int, ...] = ()
    """Chunks that were stored before, in order."""
    _taken: int = 0
    """Row after the last batch that was run."""
    _fits: int | None = None
    """Largest batch that the card has memory for, once one did not fit."""
    _temporary: Path | None = None

    def run(self) -> Activations:
        """Stream every batch through the model."""
        options = self.options
        with ExitStack() as stack:
            self._workers = stack.enter_context(worker_group())
            if self._workers.size > 1 and options.out is None:
                raise CaptureError("under torchrun the processes share a store: give extract(..., out=PATH)")
            self._device = stack.enter_context(placed(self.tree.root.module, options.device))
            stack.enter_context(as_current(self._device))
            stack.enter_context(forward_only(self.tree.root.module))
            total = options.total if options.total is not None else count_samples(self.batches, self._as_batch)
            self.table = Table(total, options.keep_on, options.pad, mine=self._mine, streaming=options.out is not None)
            stack.callback(self._part)
            try:
                rows = self._consume(stack)
            except BaseException:
                self._keep_what_is_there()
                raise
            return self._finish(rows)

    def _part(self) -> None:
        """Cut the ways that lead from the table back here, so that model, rows and loader are let go of at once."""
        self.table.mine, self.table.spill = bool, None

    def _consume(self, stack: ExitStack) -> int:
        """Run every batch that is needed; return the number of samples."""
        may_skip = self.options.resume or self._workers.size > 1
        stop = 0
        for start, batch in read(self.batches, self._needs, may_skip=may_skip, as_batch=self._as_batch):
            size = batch if isinstance(batch, int) else batch.size
            stop = start + size
            if start == 0 and isinstance(batch, Batch):
                if self._prepare(batch, stack):
                    return 0
                shown = self.options.progress and self._workers.is_first
                self._bar = stack.enter_context(progress_bar(self.tree.root.kind, self.table.total, shown=shown))
            if isinstance(batch, Batch):
                if self._needs(start, stop):
                    self._take(batch, start)
                else:
                    self._check_ids(batch, start)
            self._bar.update(size)
        if stop == 0:
            raise DataError("batches: the loader yields no sample; a generator can be read only once")
        self._sink.settle()
        return stop

    def _as_batch(self, item: Any) -> Batch:
        return as_batch(item, self.tree.root.module, self.options.inputs)

    def _prepare(self, batch: Batch, stack: ExitStack) -> bool:
        """Get ready to run `batch`, the first one; return whether there is nothing left to do."""
        options, model = self.options, self.tree.root.module
        if options.resume or self._workers.size > 1:
            check_stable(self.batches, batch, options.out, self._workers.size)
        check_fit(
            model,
            *as_arguments(batch.inputs, self._device),
            "inputs=[...] chooses the keys that the model is called with",
        )
        selection = options.selection
        if selection.positions:
            selection = selection.at(run_survey(self.tree, batch.inputs, self._device).layers)
        self._provenance = describe_run(model, self._device, options.settings(selection)) | {
            "model_fingerprint": model_fingerprint(model),
            "data_fingerprint": data_fingerprint(batch.inputs, batch.ids),
        }
        if options.out is not None and self._open(options.out):
            return True
        staged = self._device.type == "cuda" and options.keep_on is None
        self._sink = StagedTable(self.table) if staged else self.table
        stop_early = StopRule(enabled=not options.predictions and not options.verify)
        self._writer = RowWriter(self.tree, self._sink, selection, options, stop_early)
        if options.verify:
            self._writer.oracle = CloneOracle(self.tree)
        tap = stack.enter_context(ForwardTap(self.tree, self._writer, with_kwargs=options.at == "input"))
        self._runner = Runner(self.tree, options, self._device, self._writer, tap)
        return False

    def _open(self, out: Path) -> bool:
        """Open the store to go on with, or one that the first process makes; return whether it is complete."""
        there = self._workers.broadcast(out.exists() and (not out.is_dir() or any(out.iterdir())))
        if there and not self.options.resume:
            raise StoreError(f"{out}: exists already; pass resume=True (--resume) to go on with it, or another path")
        if not there and self._workers.is_first:
            return False  # made after the first batch, when the columns are known
        if not there:
            self._workers.barrier()
        store = Store.reopen(out)
        check_same(store, self._provenance)
        if there:
            self._done = self._workers.broadcast(store.done() if self._workers.is_first else None)
        store.shared = self._workers.size > 1
        self.table.store = store
        complete, count = bool(store.header["complete"]), count_samples(self.batches, self._as_batch)
        if complete and count is not None and count != store.header["rows"]:
            raise StoreError(
                f"{out}: holds all of {store.header['rows']} samples, and the loader gives {count}; give another path"
            )
        return complete

    # one batch

    def _mine(self, chunk: int) -> bool:
        """Whether this process fills `chunk` of the store: those that are missing are dealt out in turn."""
        before = bisect_left(self._done, chunk)
        done = self._done[before : before + 1] == (chunk,)
        return not done and (chunk - before) % self._workers.size == self._workers.rank

    def _needs(self, start: int, stop: int) -> bool:
        """Whether rows `start` to `stop` hold any of a chunk that this process fills."""
        store = self.table.store
        if store is None:
            return True
        return any(map(self._mine, store.chunks(start, stop)))

    def _check_ids(self, batch: Batch, start: int) -> None:
        """Raise `StoreError` if samples that are stored already are not the ones that the loader gives now."""
        store = self.table.store
        if batch.ids is None or store is None or start // store.chunk_rows not in self._done:
            return
        rows = min(batch.size, store.chunk_rows - start % store.chunk_rows)
        with reading(store.path):
            stored = store.arrays["ids"][start : start + rows]
        if not np.array_equal(stored, batch.ids[:rows]):
            raise StoreError(
                f"{store.path}: holds other samples at row {start} than the loader gives; do its batches vary?"
            )

    def _take(self, batch: Batch, start: int) -> None:
        if start != self._taken:
            self._sink.settle()
            store = self.table.store
            assert store is not None
            wanted = next(filter(self._mine, store.chunks(start, start + batch.size)))
            self.table.move_to(max(start, wanted * store.chunk_rows))
        first = not self._taken
        self._take_fitting(replace(batch, ids=batch.ids_from(start)), start)
        self._taken = start + batch.size
        if first:
            self._sink.settle()
            self._writer.check_ran()
            self.table.check_left_out(self._writer.skipped)
            self._decide_where(batch.size)

    def _take_fitting(self, batch: Batch, start: int) -> None:
        """Run a batch, in halves and halves of these where the card's memory is too small for it."""
        done = 0
        while done < batch.size:
            size = min(self._fits or batch.size, batch.size - done)
            try:
                self._take_part(batch.part(done, done + size), start + done)
            except RuntimeError as error:
                if not is_out_of_memory(error):
                    raise
                if size == 1:
                    raise CaptureError("device: its memory is too small for one sample; choose fewer layers") from error
            else:
                done += size
                continue
            # The error's traceback, which refers to the tensors of the forward pass, is gone only here.
            self._runner.tap.reset()
            self._fits = (size + 1) // 2
            torch.cuda.empty_cache()
            _log.warning(
                "out of memory on %s with %d samples at a time; going on with %d", self._device, size, self._fits
            )

    def _take_part(self, batch: Batch, start: int) -> None:
        sink = self._sink
        sink.begin(start, batch.size)
        if not self._taken:
            self._runner.find_axes(batch)
        if (rows := self._runner.run(batch, start)) is not None:
            sink.put("predictions", rows, layer=False)
        if batch.targets is not None:
            sink.put("targets", batch.targets, layer=False)
        if self.options.thumbnails is not None:
            sink.put("thumbnails", thumbnails(batch.inputs, self.options.thumbnails), layer=False)
        assert batch.ids is not None
        sink.put("ids", batch.ids, layer=False)
        sink.commit()

    # where the rows go

    def _decide_where(self, batch_size: int) -> None:
        """Make the store, now that the columns are known; or a temporary one for what memory is too small for."""
        options, table, total = self.options, self.table, self.table.total
        need = table.row_bytes * (total or 0)
        if total:
            self._bar.set_description(f"{self.tree.root.kind}, {format_bytes(need)}", refresh=False)
        if options.out is not None and table.store is None:
            check_disk(options.out, need)
            self._store_at(options.out, batch_size)
            self._workers.barrier()
        elif options.out is None and options.keep_on is None:
            table.limit, table.spill = memory_limit(options.max_memory), lambda: self._spill(batch_size)
            table.check_limit(need)

    def _spill(self, batch_size: int) -> None:
        self._temporary = Path(tempfile.mkdtemp(prefix="torchviz_layers-"))
        _log.warning(
            "the activations pass max_memory (%s) and go to a store in %s",
            format_bytes(self.table.limit or 0),
            self._temporary,
        )
        self._store_at(self._temporary, batch_size)

    def _store_at(self, path: Path, batch_size: int) -> None:
        header = {
            "chunk_rows": self.table.chunk_rows(batch_size, self._workers.size),
            "rows": self.table.total,
            "provenance": self._provenance,
            "skipped": self._writer.left_out,
        }
        self.table.to_store(Store.create(path, header))
        assert self.table.store is not None
        self.table.store.shared = self._workers.size > 1

    def _keep_what_is_there(self) -> None:
        if self._temporary is not None:
            discard(self._temporary)
        elif self.table.store is not None and self._workers.size == 1:
            with suppress(StoreError):  # what stopped the extraction may be that nothing can be written
                self.table.flush_partial()

    def _finish(self, rows: int) -> Activations:
        store, table = self.table.store, self.table
        if self._taken and (notice := self._writer.axes.notice()):
            _log.warning("%s", notice)
        if store is None:
            arrays, extras = table.arrays()
            missing = {layer: mask_of(runs, rows) for layer, runs in table.missing(0, rows).items()}
            return Activations(
                arrays, **extras | {"ids": plain_ids(extras["ids"])},
                provenance=self._provenance, missing=missing, skipped=self._writer.left_out,
            )  # fmt: skip
        if not store.header["complete"]:
            table.flush_rest()
            self._workers.barrier()
            if self._workers.is_first:
                store.finish(rows)
            self._workers.barrier()
        acts = Activations.load(store.path)
        if self._temporary is not None:
            discard_with([acts, acts.thumbnails, *acts.values()], self._temporary)
        return acts
