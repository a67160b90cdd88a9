"""The loop of `extract`: the data are read once, and every model runs on each batch."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Any

from torchviz_layers._common.devices import as_current
from torchviz_layers._common.distributed import WorkerGroup, worker_group
from torchviz_layers._common.memory import format_bytes
from torchviz_layers.exceptions import CaptureError, DataError
from torchviz_layers.extraction.activations import Activations
from torchviz_layers.extraction.budget import MemoryBudget
from torchviz_layers.extraction.feeding import Feeding
from torchviz_layers.extraction.model_run import Loading, ModelRun
from torchviz_layers.extraction.options import ExtractOptions
from torchviz_layers.extraction.progress import progress_bar
from torchviz_layers.hooks.batches import Batch, read


@dataclass(frozen=True)
class _Feed:
    """One batch of the loader, as each of the models reads it."""

    batches: tuple[Batch, ...]
    size: int


@dataclass
class OnePass:
    """The models that run on each batch, and the options that they share."""

    runs: Sequence[ModelRun]
    feeding: Feeding
    options: ExtractOptions

    def run(self) -> list[Activations]:
        """Read the loader once and return the rows of each model."""
        with ExitStack() as stack:
            workers = stack.enter_context(worker_group())
            if workers.size > 1 and self.options.out is None:
                raise CaptureError("under torchrun the processes share a store: give extract(..., out=PATH)")
            loading = self._loading(workers)
            for run in self.runs:
                run.open(loading, stack)
            # What the loader does on "the" card it does on that of the first model.
            stack.enter_context(as_current(self.runs[0].device))
            bar = stack.enter_context(self._bar(loading))
            try:
                rows = self._read_all(loading, bar)
                for run in self.runs:
                    run.end()
            except BaseException:
                for run in self.runs:
                    run.keep_partial()
                raise
            if rows:  # else the stores were complete, and know it
                about = self.feeding.about_samples()
                for run in self.runs:
                    run.destination.about_samples = about
            return [run.finish(rows) for run in self.runs]

    def _loading(self, workers: WorkerGroup) -> Loading:
        total = self.options.total if self.options.total is not None else self._count()
        budget = MemoryBudget(self.options.max_memory)
        return Loading(self.feeding.batches, workers, total, self._count, budget, len(self.runs))

    def _count(self) -> int | None:
        return self.feeding.count(self.runs[0].as_batch)

    def _bar(self, loading: Loading) -> Any:
        shown = self.options.progress and loading.workers.is_first
        return progress_bar(self._title(), loading.total, shown=shown)

    def _title(self) -> str:
        return self.runs[0].tree.root.kind if len(self.runs) == 1 else f"{len(self.runs)} models"

    def _read_all(self, loading: Loading, bar: Any) -> int:
        """Run every batch that any model needs; return the number of samples."""
        # A first run by one process needs every batch.
        may_skip = self.options.resume or loading.workers.size > 1
        stop = 0
        for start, feed in read(self.feeding.batches, self._needs, may_skip=may_skip, as_batch=self._feed):
            if isinstance(feed, _Feed):
                size = feed.size
                # The first batch model by model, from the store to the rows: under torchrun the processes wait for
                # each store in that order.
                for run, batch in zip(self.runs, feed.batches, strict=True):
                    run.take(batch, start, loading)
            else:
                size = feed  # not loaded, as its rows are not needed
            if all(run.is_complete for run in self.runs):
                return 0
            if start == 0:
                self._show_size(bar)
            stop = start + size
            bar.update(size)
        if not stop:
            raise DataError("batches: the loader yields no sample; a generator can be read only once")
        return stop

    def _needs(self, start: int, stop: int) -> bool:
        return any(run.needs(start, stop) for run in self.runs)

    def _feed(self, item: Any) -> _Feed:
        """Read a batch by each model's own forward; raise `DataError` if they find different numbers of samples."""
        batches = tuple(run.as_batch(item) for run in self.runs)
        sizes = {run.name: batch.size for run, batch in zip(self.runs, batches, strict=True)}
        if len(set(sizes.values())) > 1:
            found = ", ".join(f"{size} by {name}" for name, size in sizes.items())
            raise DataError(
                f"batches: a batch is read as another number of samples by each model's forward ({found}); "
                "run these models on their own"
            )
        return _Feed(batches, batches[0].size)

    def _show_size(self, bar: Any) -> None:
        """Add the bytes of all rows to the bar, once they are known."""
        size = sum(run.expected_bytes for run in self.runs)
        if size:
            bar.set_description(f"{self._title()}, {format_bytes(size)}", refresh=False)
