"""Where the rows go: memory, the store at `out`, or a temporary store once they take too much memory."""

from __future__ import annotations

import logging
import tempfile
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from torchviz_layers._common.distributed import WorkerGroup
from torchviz_layers._common.memory import format_bytes
from torchviz_layers.exceptions import StoreError
from torchviz_layers.extraction.activations import Activations, plain_ids
from torchviz_layers.extraction.budget import MemoryBudget
from torchviz_layers.extraction.damage import reading
from torchviz_layers.extraction.missing import mask_of
from torchviz_layers.extraction.options import ExtractOptions
from torchviz_layers.extraction.store import Store, check_same, discard, discard_with
from torchviz_layers.extraction.table import Table, check_disk
from torchviz_layers.hooks.batches import Batch

_log = logging.getLogger("torchviz_layers")


@dataclass
class Destination:
    """The table of one extraction, and the store that it is written to, if there is one.

    Under torchrun every process has a table, and all of them fill chunks of one store, which the first process makes.
    """

    options: ExtractOptions
    workers: WorkerGroup
    table: Table
    budget: MemoryBudget
    """What the tables of one pass may take together."""
    provenance: dict[str, Any] = field(default_factory=dict)
    about_samples: dict[str, Any] = field(default_factory=dict)
    """What the pass has shown of the samples, for the provenance."""
    _batch_size: int = 1
    """Size of the first batch: chunks are whole batches."""
    _temporary: Path | None = None

    def open_store(self, out: Path, count: Callable[[], int | None]) -> bool:
        """Open the store at `out`, if it is there or another process makes it; return whether it is complete.

        `count` returns the number of samples that the loader yields, if it is known.
        """
        exists = self.workers.broadcast(out.exists() and (not out.is_dir() or any(out.iterdir())))
        if exists and not self.options.resume:
            raise StoreError(f"{out}: exists already; pass resume=True (--resume) to continue it, or another path")
        if not exists:
            if self.workers.is_first:
                return False  # made after the first batch, when the columns are known
            self.workers.barrier()  # until the first process has made it
        # Every process opens it, and each compares it with its own model and data.
        store = Store.reopen(out)
        check_same(store, self.provenance)
        if exists:
            # `done` removes what was written in part, so that one process calls it.
            self.table.share.done = self.workers.broadcast(store.done() if self.workers.is_first else None)
        store.shared = self.workers.size > 1
        self.table.store = store
        is_complete, samples = bool(store.header["complete"]), count()
        if is_complete and samples is not None and samples != store.header["rows"]:
            raise StoreError(
                f"{out}: holds all of {store.header['rows']} samples, and the loader gives {samples}; give another path"
            )
        return is_complete

    def needs(self, start: int, stop: int) -> bool:
        """Whether rows `start` to `stop` include any of a chunk that this process fills."""
        store = self.table.store
        return store is None or any(map(self.table.share.is_mine, store.chunks(start, stop)))

    def move_to(self, start: int, stop: int) -> None:
        """Skip the rows before the first one of `start` to `stop` that this process stores."""
        store = self.table.store
        assert store is not None
        chunk = next(filter(self.table.share.is_mine, store.chunks(start, stop)))
        self.table.move_to(max(start, chunk * store.chunk_rows))

    def check_ids(self, batch: Batch, start: int) -> None:
        """Raise `StoreError` if samples that are stored already are not the ones that the loader gives now."""
        store = self.table.store
        if batch.ids is None or store is None or not self.table.share.is_done(start // store.chunk_rows):
            return
        rows = min(batch.size, store.chunk_rows - start % store.chunk_rows)  # up to the end of the chunk
        with reading(store.path):
            stored = store.arrays["ids"][start : start + rows]
        if not np.array_equal(stored, batch.ids[:rows]):
            raise StoreError(
                f"{store.path}: holds other samples at row {start} than the loader gives; do its batches vary?"
            )

    def set_up(self, batch_size: int, skipped: Mapping[str, str]) -> None:
        """Decide where the rows go, after the first batch: the columns and their sizes are known now."""
        options, table = self.options, self.table
        self._batch_size = batch_size
        need = table.row_bytes * (table.total or 0)
        if options.out is not None:
            # A store that is resumed, or that the first process has just made, is open already.
            if table.store is None:
                check_disk(options.out, need)
                self._make_store(options.out, skipped)
                self.workers.barrier()  # the other processes wait for it in `open_store`
        elif options.keep_on is None:
            self._spill_above(need, skipped)

    def check_memory(self, skipped: Mapping[str, str]) -> None:
        """Write the rows to a temporary store if they take too much memory.

        That matters where the number of samples was not known (or was wrong): where it was, `set_up` has decided.
        """
        table = self.table
        if table.committed > (table.total or 0):
            self._spill_above(table.committed * table.row_bytes, skipped)

    def _spill_above(self, size: int, skipped: Mapping[str, str]) -> None:
        # Tensors that stay on a device have no store to go to.
        if self.options.keep_on is not None or self.table.store is not None or self.budget.grant(self.table, size):
            return
        self._temporary = Path(tempfile.mkdtemp(prefix="torchviz_layers-"))
        _log.warning(
            "the activations take more than max_memory (%s) and go to a store in %s",
            format_bytes(self.budget.limit or 0),
            self._temporary,
        )
        self._make_store(self._temporary, skipped)

    def _make_store(self, path: Path, skipped: Mapping[str, str]) -> None:
        header = {
            "chunk_rows": self.table.chunk_rows(self._batch_size, self.workers.size),
            "rows": self.table.total,
            "provenance": self.provenance,
            "skipped": dict(skipped),
        }
        store = Store.create(path, header)
        # The table makes the arrays before the store is marked as shared, after which none can be added.
        self.table.to_store(store)
        store.shared = self.workers.size > 1

    def keep_partial(self) -> None:
        """Keep what can be resumed, after an error: the rows of the last chunk too, though it is not full."""
        if self._temporary is not None:
            discard(self._temporary)
        elif self.table.store is not None and self.workers.size == 1:
            with suppress(StoreError):  # the error may be that nothing can be written
                self.table.flush_partial()

    def finish(self, rows: int, skipped: Mapping[str, str]) -> Activations:
        """Return the activations of `rows` samples."""
        store, table = self.table.store, self.table
        if store is None:
            arrays, extras = table.arrays()
            extras["ids"] = plain_ids(extras["ids"])
            missing = {layer: mask_of(runs, rows) for layer, runs in table.missing(0, rows).items()}
            provenance = self.provenance | self.about_samples
            return Activations(arrays, **extras, provenance=provenance, missing=missing, skipped=skipped)
        if not store.header["complete"]:
            table.flush_rest()
            # All chunks must be written before the arrays are cut to their length, and that before anyone reads.
            self.workers.barrier()
            if self.workers.is_first:
                store.finish(rows, **self.about_samples)
            self.workers.barrier()
        acts = Activations.load(store.path)
        if self._temporary is not None:
            # The temporary store lives as long as anyone has the activations or one of their arrays.
            discard_with([acts, acts.thumbnails, *acts.values()], self._temporary)
        return acts
