"""One model's part of a pass over the data: it is fed batches, and its rows go to memory or to a store."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Mapping
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from typing import Any

import torch
from torch import Tensor, nn

from torchviz_layers._common.devices import as_current
from torchviz_layers._common.distributed import WorkerGroup
from torchviz_layers._common.nested import describe
from torchviz_layers.exceptions import DataError
from torchviz_layers.extraction.activations import Activations
from torchviz_layers.extraction.budget import MemoryBudget
from torchviz_layers.extraction.chunks import ChunkShare
from torchviz_layers.extraction.destination import Destination
from torchviz_layers.extraction.model_device import model_on_device
from torchviz_layers.extraction.naming import naming
from torchviz_layers.extraction.options import ExtractOptions
from torchviz_layers.extraction.provenance import data_fingerprint, describe_run, model_fingerprint
from torchviz_layers.extraction.rows import RowReader
from torchviz_layers.extraction.runner import Runner
from torchviz_layers.extraction.staging import StagedTable
from torchviz_layers.extraction.stopping import StopRule
from torchviz_layers.extraction.stream import BatchStream
from torchviz_layers.extraction.table import Table
from torchviz_layers.extraction.writer import RowWriter
from torchviz_layers.hooks.arguments import check_fit, samples_in
from torchviz_layers.hooks.batches import Batch, as_arguments, as_batch, check_stable
from torchviz_layers.hooks.forward_hooks import ForwardHooks
from torchviz_layers.hooks.listing import run_survey
from torchviz_layers.hooks.model_state import evaluation_mode
from torchviz_layers.hooks.modules import ModuleTree
from torchviz_layers.models import check_input

_log = logging.getLogger("torchviz_layers")


@dataclass(frozen=True)
class Loading:
    """What the models of one pass share: the loader and how it is read."""

    batches: Iterable[Any]
    workers: WorkerGroup
    total: int | None
    """Number of samples, where it is known beforehand."""
    count: Callable[[], int | None]
    """Counts the samples that the loader will yield, if they can be counted."""
    budget: MemoryBudget
    models: int


@dataclass
class ModelRun:
    """A model with its options: `open`, `take` for every batch, `finish`; all that `open` changes ends with its stack.

    The name is what errors begin with; it is empty for a model that has none.
    """

    name: str
    tree: ModuleTree
    options: ExtractOptions
    reader: nn.Module
    """The model whose forward decides how a list of tensors is read."""
    transform: Callable[[Tensor], Tensor] | None = None
    """What makes the model's input of pictures."""
    not_taken: frozenset[str] = frozenset()
    """Keyword arguments that other models of the pass name and this one does not take."""
    is_complete: bool = False
    """The store had all rows: no batch is needed."""
    device: torch.device = field(init=False)
    """Where it runs, known once it is open."""
    destination: Destination = field(init=False)
    """Where its rows go, known once it is open."""
    _stream: BatchStream | None = None
    _stack: ExitStack = field(default_factory=ExitStack)

    def open(self, loading: Loading, stack: ExitStack) -> None:
        """Prepare the model and the place of its rows; `stack` gives the model back as it was."""
        model = self.tree.root.module
        self._stack = stack
        with naming(self.name):
            self.device = stack.enter_context(model_on_device(model, self.options.device))
        stack.enter_context(evaluation_mode(model))
        share, streaming = ChunkShare(loading.workers), self.options.out is not None
        options = self.options
        table = Table(
            loading.total, options.keep_on, options.pad, share=share, streaming=streaming, tables=loading.models
        )
        self.destination = Destination(options, loading.workers, table, loading.budget)

    def as_batch(self, item: Any) -> Batch:
        """Read a batch of the loader as this model takes it."""
        with naming(self.name):
            batch = as_batch(item, self.reader, self.options.inputs)
            if self.not_taken and isinstance(batch.inputs, Mapping):
                taken = {name: part for name, part in batch.inputs.items() if name not in self.not_taken}
                batch = replace(batch, inputs=taken)
            if self.transform is not None and isinstance(batch.inputs, Tensor):
                batch = replace(batch, inputs=_transformed(batch.inputs, self.transform))
            return batch

    def needs(self, start: int, stop: int) -> bool:
        """Whether any of the rows `start` to `stop` is to be computed by this process."""
        return not self.is_complete and self.destination.needs(start, stop)

    def take(self, batch: Batch, start: int, loading: Loading) -> None:
        """Run a batch whose first sample is `start`, unless its rows are not needed."""
        if self.is_complete:
            return
        with naming(self.name, batch.inputs), as_current(self.device):
            if self._stream is None:
                self._stream = self._begin(batch, loading)
            if self._stream is None:
                self.is_complete = True
            # Some loaders cannot skip batches: what is not needed is compared with the store.
            elif self.destination.needs(start, start + batch.size):
                self._stream.add(batch, start)
            else:
                self.destination.check_ids(batch, start)

    def _begin(self, first: Batch, loading: Loading) -> BatchStream | None:
        """Check the first batch, open the store and put hooks on the model; return None if the store is complete."""
        options, model, destination = self.options, self.tree.root.module, self.destination
        if options.resume or loading.workers.size > 1:
            check_stable(loading.batches, first, options.out, loading.workers.size)
        if self.name and isinstance(first.inputs, Tensor):
            check_input(model, tuple(first.inputs.shape[1:]), self.name)
        check_fit(model, *as_arguments(first.inputs, self.device))
        selection = options.selection
        if selection.positions:  # indices in order of execution, which a forward pass shows
            selection = selection.at(run_survey(self.tree, first.inputs, self.device).layers)
        destination.provenance = describe_run(model, self.device, options.settings(selection)) | {
            "model_fingerprint": model_fingerprint(model),
            "data_fingerprint": data_fingerprint(first.inputs, first.ids),
        }
        if options.out is not None and destination.open_store(options.out, loading.count):
            return None
        # Rows on a card are copied to memory while it computes; others are written to the table at once.
        staged = self.device.type == "cuda" and options.keep_on is None
        buffer = StagedTable(destination.table) if staged else destination.table
        reader, stop = RowReader(self.tree, options.record), StopRule(enabled=not options.predictions)
        writer = RowWriter(self.tree, buffer, selection, options, reader, stop)
        if destination.table.store is not None:  # layers that an earlier run has left out
            writer.without_rows |= destination.table.store.header.get("dropped", {})
        hooks = ForwardHooks(self.tree, writer, with_kwargs=options.record.at == "input", paused=True)
        runner = Runner(self.tree, options, self.device, writer, self._stack.enter_context(hooks))
        return BatchStream(options, destination, buffer, runner)

    def end(self) -> None:
        """Wait for the rows that are on their way, after the last batch."""
        if self._stream is None:
            return
        with naming(self.name), as_current(self.device):
            self._stream.end()
        notice = self._stream.writer.reader.axes.notice()
        if notice:
            _log.warning("%s", f"{self.name}: {notice}" if self.name else notice)

    def finish(self, rows: int) -> Activations:
        """Return the rows of all samples."""
        skipped = {} if self._stream is None else self._stream.writer.skipped
        with naming(self.name):
            return self.destination.finish(rows, skipped)

    def keep_partial(self) -> None:
        """Keep what can be resumed, after an error."""
        self.destination.keep_partial()

    @property
    def expected_bytes(self) -> int:
        """Bytes of all rows, as far as their number and size are known."""
        table = self.destination.table
        return table.row_bytes * (table.total or 0)


def _transformed(pictures: Tensor, transform: Callable[[Tensor], Tensor]) -> Any:
    """Return the model's input that `transform` makes of pictures (n, channels, height, width)."""
    shape = tuple(pictures.shape[1:])
    try:
        inputs = transform(pictures.clone())  # it may write to them, and other models get them too
    except Exception as problem:  # the function is the caller's and may raise anything
        reason = str(problem).partition("\n")[0] or type(problem).__name__
        raise DataError(f"the transform fails on images of shape {shape}: {reason}") from problem
    if samples_in(inputs) != len(pictures):
        raise DataError(
            f"the transform makes {describe(inputs)} of {len(pictures)} images of shape {shape}; it gets a batch and "
            "returns a batch of as many"
        )
    return inputs
