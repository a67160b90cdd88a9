"""Passes over a source: what is yielded, what each leaves behind, and what is known without one."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import cached_property
from typing import Any

import numpy as np
import torch

from torchviz_layers._common.arrays import Array
from torchviz_layers.data.asked import Known
from torchviz_layers.data.columns import read_columns
from torchviz_layers.data.feeding import are_unit_pictures
from torchviz_layers.data.parts import Part, transformed
from torchviz_layers.data.recording import Record, Recorder, Shown, decoder_of, shown_in_memory
from torchviz_layers.data.sources import Arrays, Source
from torchviz_layers.data.targets import Targets, read_targets
from torchviz_layers.data.views import View
from torchviz_layers.exceptions import DataError, TorchvizLayersError


class Passes:
    """A source, what is known of its samples, and the record of the last full pass.

    What a pass finds out is asked with a pass of its own where there was none.
    """

    def __init__(self, source: Source, known: Known) -> None:
        self.source, self.known = source, known
        self.record: Record | None = None
        self.labels_read: Targets | None = None
        self._columns: dict[str, Array] | None = None

    @classmethod
    def begun(cls, source: Source, known: Known) -> Passes:
        """Return passes over a source whose targets are read, and checked, if they are known without a pass."""
        passes = cls(source, known)
        if passes._are_targets_known:
            passes._read_labels(known.targets)
        return passes

    @property
    def n(self) -> int | None:
        """Number of samples, or None if no pass told yet."""
        return self.source.n if self.record is None else self.record.n

    @property
    def notices(self) -> list[str]:
        """Sentences for readers."""
        notices = [*self.known.notices, *self.source.reading.remarks]
        if self.record is not None:
            notices += self.record.notices
        if self.labels_read is not None:
            notices.append(self.labels_read.notice)
        return list(dict.fromkeys(filter(None, notices)))

    def batches(self, batch_size: int, transform: Callable[[Any], Any] | None) -> Iterator[tuple[Any, Any, Array]]:
        """Yield `(inputs, targets, ids)`; keep the record when the last one was taken."""
        recorder = self._recorder()
        start = 0
        for part in self._parts(batch_size, recorder):
            start += part.size
            yield transformed(part.inputs, transform), _as_tensor(part.targets), np.asarray(part.ids)
        self._check_count(start)
        record = recorder.finish()
        self.record = record if self._are_targets_known else self._with_labels(record)
        self._columns = None

    def _parts(self, batch_size: int, recorder: Recorder) -> Iterator[Part]:
        """Yield batches, each recorded before anyone can change it."""
        start = 0
        try:
            for given in self.source.parts(batch_size, self.known.look is not None):
                part = self.known.completed(given, start)
                recorder.add(part)
                start += part.size
                yield part
        except TorchvizLayersError:
            raise
        except Exception as problem:  # data are of anyone's class, and their methods may raise anything
            where = f"{self.known.name}, the batch from row {start} on"
            raise DataError(f"{where}: {type(problem).__name__}: {problem}") from problem

    def _recorder(self) -> Recorder:
        if self._shown_at_once is not None:
            return Recorder("id")
        known = self.known
        return Recorder(known.view, known.row_names, known.look, decoder_of(self.source.reading.tokenizer))

    def _check_count(self, n: int) -> None:
        if self.n is not None and n != self.n:
            raise DataError(
                f"{self.known.name}: {n:,} samples came in this pass, where {self.n:,} were expected from the data's "
                "length or an earlier pass; give data that yield the same samples each time, list(data) say"
            )
        self.known.check(n)

    def recorded(self) -> Record:
        """Return the record of the last pass; make one if there was none."""
        if self.record is None:
            for _ in self.batches(256, None):
                pass
        assert self.record is not None
        return self.record

    def with_class_names(self, names: tuple[str, ...]) -> Passes:
        """Return the passes with what was recorded, and the targets read again, as classes in the order of `names`."""
        named = Passes(self.source, replace(self.known, class_names=names))
        named.record = self.record
        given = self.known.targets
        if given is None:
            given = self.recorded().targets
        named._read_labels(given)
        return named

    def with_labels(self, labels: Array) -> Passes:
        """Return passes over the same source with other class codes (n,) in place of the targets."""
        read = self.labels()
        names = self.known.class_names if read is None else read.class_names
        return Passes(self.source, replace(self.known, targets=labels, task="classification", class_names=names))

    @property
    def _are_targets_known(self) -> bool:
        return self.known.targets is not None or isinstance(self.source, Arrays)

    def _read_labels(self, targets: Any) -> None:
        if targets is not None:
            known = self.known
            self.labels_read = read_targets(
                targets, n=self.source.n, task=known.task, class_names=known.class_names, name=known.name
            )

    def _with_labels(self, record: Record) -> Record:
        """Read the targets that came with the samples; those that are no classes or values are left out."""
        self.labels_read = None
        try:
            self._read_labels(record.targets)
        except DataError as problem:
            if self.known.task or self.source.reading.target:  # the caller says that they are
                raise
            return replace(record, targets=None, notices=(*record.notices, f"the targets are not used: {problem}"))
        return record

    def labels(self) -> Targets | None:
        """Return the targets as codes, values or sets of labels; None where there are none."""
        if not self._are_targets_known and self.labels_read is None:
            self.recorded()
        return self.labels_read

    @cached_property
    def _shown_at_once(self) -> Shown | None:
        """What is shown that no pass records: what the caller gave, and small arrays as they are."""
        known = self.known
        if known.shown is not None or known.look is not None or not isinstance(self.source, Arrays):
            return known.shown
        return shown_in_memory(self.source.inputs, known.view, known.row_names)

    @cached_property
    def _first(self) -> Part:
        return self.source.first(self.known.look is not None)

    def shown(self) -> Shown:
        """Return what is shown of the samples."""
        return self._shown_at_once or self.recorded().shown

    def view(self) -> View:
        """Return how samples are shown; where no pass was, as the first ones are."""
        if self._shown_at_once is not None:
            return self._shown_at_once.view
        if self.record is not None:
            return self.record.view
        recorder = self._recorder()
        recorder.add(self.known.completed(self._first, 0))
        assert recorder.view is not None
        return recorder.view

    def ids(self) -> Array:
        """Return one id a sample."""
        if self.known.ids is not None:
            return self.known.ids
        if isinstance(self.source, Arrays):
            return np.arange(self.source.n) if self.known.rows is None else self.known.rows
        ids = self.recorded().ids
        assert ids is not None
        return ids

    def columns(self) -> dict[str, Array]:
        """Return the columns that came with the samples and those that the caller gave."""
        if self._columns is None:
            found: dict[str, Any] = {}
            if not isinstance(self.source, Arrays):
                found = self.recorded().columns
            n = self.n if self.n is not None else self.recorded().n
            self._columns = read_columns({**found, **self.known.columns}, n, self.known.name)
        return self._columns

    def unit_pictures(self) -> bool:
        """Return whether inputs are pictures in [0, 1]; of what is not in memory, the first ones tell."""
        return are_unit_pictures(self.source.inputs if isinstance(self.source, Arrays) else self._first.inputs)

    def take(self, rows: Array) -> Passes:
        """Return the passes over some rows, with their part of what was recorded."""
        part = Passes(self.source.take(rows), self.known.take(rows))
        labels = self.labels_read
        if labels is not None:
            part.labels_read = replace(labels, values=labels.values[rows])
            part.known = replace(part.known, task=labels.task, class_names=labels.class_names)
        if self.record is not None:
            part.record = self.record.take(rows)
        return part


def _as_tensor(targets: Any) -> Any:
    """Return an array of numbers as a tensor, which losses take; other targets as they are."""
    if isinstance(targets, np.ndarray) and targets.dtype.kind in "biuf":
        # A copy in the machine's own byte order: arrays of a file may be read-only or of another one.
        return torch.from_numpy(targets.astype(targets.dtype.newbyteorder("=")))
    return targets
