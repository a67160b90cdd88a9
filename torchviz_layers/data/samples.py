"""`Samples`: any data that a PyTorch project has, read once for all networks, with what is known of each sample."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from functools import cached_property
from typing import Any

import numpy as np

from torchviz_layers._common.arrays import Array
from torchviz_layers._common.nested import describe
from torchviz_layers.data.asked import Asked, Known, known_of
from torchviz_layers.data.columns import read_columns
from torchviz_layers.data.feeding import are_unit_pictures
from torchviz_layers.data.items import Reading, checked
from torchviz_layers.data.opening import open_data
from torchviz_layers.data.parts import Part, transformed
from torchviz_layers.data.recording import Record, Recorder, Shown, decoder_of, shown_in_memory
from torchviz_layers.data.sources import Arrays, Source
from torchviz_layers.data.targets import Targets, Task, read_targets
from torchviz_layers.data.views import View
from torchviz_layers.exceptions import DataError

Batch = tuple[Any, Any, Array]
BATCH_SIZE = 256


class Samples:
    """Samples of any kind; make them with `Samples.of`.

    Their data are read in batches, lazily. A full pass of `batches` records what is shown of exactly that draw; what
    is asked before is read in a pass of its own. Inputs are never kept.
    """

    def __init__(self, source: Source, known: Known) -> None:
        self._source, self._known = source, known
        self._record: Record | None = None
        self._first: Part | None = None
        self._labels: Targets | None = None
        self._columns: dict[str, Array] | None = None

    @classmethod
    def of(
        cls,
        data: Any,
        *,
        targets: Any = None,
        view: View | Callable[[Any], Any] | Sequence[Any] | None = None,
        task: Task | None = None,
        columns: Any = None,
        ids: Any = None,
        class_names: Any = None,
        transform: Callable[[Any], Any] | None = None,
        tokenizer: Callable[..., Any] | None = None,
        collate: Callable[[list[Any]], Any] | None = None,
        limit: int | None = None,
        name: str | None = None,
    ) -> Samples:
        """Take data as a project has it."""
        asked = Asked(targets, view, task, columns, ids, class_names, limit, name)
        reading = checked(Reading(targets if isinstance(targets, str) else None, transform, tokenizer, collate))
        if isinstance(data, Samples):
            if transform or tokenizer or collate:
                raise DataError(
                    "transform, tokenizer and collate belong to the first Samples.of(data, ...): these are Samples, "
                    f"{data!r}, whose inputs are decided"
                )
            if asked.is_empty:
                return data
            source, known = data._source, data._known
        else:
            opened = open_data(data, reading)
            source, known = opened.source, known_of(opened)
        source, known = asked.applied(source, known)
        samples = cls(source, known)
        if samples._targets_are_known:
            samples._read_labels(known.targets)
        return samples

    def known_as(self, notice: str, dataset: str = "") -> Samples:
        """Return the same samples with a further sentence for readers, and the name that `load_dataset` has for them."""
        notices = (*self._known.notices, notice)
        return Samples.of(Samples(self._source, replace(self._known, notices=notices, dataset=dataset)), name=self.name)

    def __len__(self) -> int:
        if self._source.n is not None:
            return self._source.n
        return self._recorded().n

    @property
    def n_known(self) -> int | None:
        """Number of samples, or None where only a pass tells; unlike `len`, it reads nothing."""
        return self._record.n if self._record is not None else self._source.n

    def __repr__(self) -> str:
        n = "?" if self.n_known is None else f"{self.n_known:,}"
        task = ""
        if self._labels is not None:
            task = f", {self._labels.task}"
            if self._labels.class_names:
                task += f" ({len(self._labels.class_names):,} classes)"
        return f"<{self.name}: {n} samples{task}>"

    @property
    def name(self) -> str:
        """A name for all of them, for titles."""
        return self._known.name

    @property
    def dataset(self) -> str:
        """The name under which `load_dataset` knows them; empty for other data."""
        return self._known.dataset

    @property
    def notice(self) -> str:
        """Sentences that readers of the results must see, joined by semicolons; usually empty."""
        notices = [*self._known.notices, *self._source.reading.remarks]
        if self._record is not None:
            notices += self._record.notices
        if self._labels is not None:
            notices.append(self._labels.notice)
        return "; ".join(dict.fromkeys(filter(None, notices)))

    def batches(
        self, batch_size: int | None = None, transform: Callable[[Any], Any] | None = None
    ) -> Iterator[Batch]:
        """Yield `(inputs, targets, ids)` in order; a full pass records what is shown.

        Inputs are what a loop over the data feeds a network; a loader keeps its own batches, whatever `batch_size`
        says. Targets are as given, None where unknown. `transform`, a model's own, is applied to each batch of inputs.

        Raises
        ------
        DataError
            If a sample cannot be read, with its row; if `transform` fails, with the inputs' shape.
        """
        batch_size = BATCH_SIZE if batch_size is None else batch_size
        if batch_size < 1:
            raise DataError(f"batch_size={batch_size}: it must be at least 1")
        recorder = self._recorder()
        start = 0
        for part in self._source.parts(batch_size, self._known.look is not None):
            part = self._known.completed(part, start)
            recorder.add(part)
            start += part.size
            yield transformed(part.inputs, transform), part.targets, np.asarray(part.ids)
        self._check_count(start)
        record = recorder.finish()
        if not self._targets_are_known:
            self._read_labels(record.targets)
        self._record, self._columns = record, None

    def _recorder(self) -> Recorder:
        known = self._known
        if self._shown_at_once is not None:
            return Recorder("id")
        return Recorder(known.view, known.row_names, known.look, decoder_of(self._source.reading.tokenizer))

    @cached_property
    def _shown_at_once(self) -> Shown | None:
        """What is shown that no pass records: what the caller gave, and small arrays as they are."""
        if self._known.shown is not None or self._known.look is not None or not isinstance(self._source, Arrays):
            return self._known.shown
        return shown_in_memory(self._source.inputs, self._known.view, self._known.row_names)

    def _peek(self) -> Part:
        if self._first is None:
            self._first = self._source.first(self._known.look is not None)
        return self._first

    def _check_count(self, n: int) -> None:
        if not n:
            raise DataError(f"{self.name}: the data yield no sample; give at least one")
        if self.n_known is not None and n != self.n_known:
            raise DataError(
                f"{self.name}: {n:,} samples came in this pass, where {self.n_known:,} were expected from the data's "
                "length or an earlier pass; give data that yield the same samples each time, list(data) say"
            )
        self._known.check(n)

    def _recorded(self) -> Record:
        if self._record is None:
            for _ in self.batches():
                pass
        assert self._record is not None
        return self._record

    @property
    def _targets_are_known(self) -> bool:
        return self._known.targets is not None or isinstance(self._source, Arrays)

    def _read_labels(self, targets: Any) -> None:
        if targets is None:
            return
        self._labels = read_targets(
            targets, n=self._source.n, task=self._known.task, class_names=self._known.class_names, name=self.name
        )

    def _labelled(self) -> Targets | None:
        if not self._targets_are_known:
            self._recorded()
        return self._labels

    @property
    def task(self) -> Task | None:
        """What the targets are for: "classification", "regression", "multilabel", or None without targets."""
        labels = self._labelled()
        return None if labels is None else labels.task

    @property
    def targets(self) -> Array | None:
        """int64 (n,) with -1 = unlabelled, float64 (n,) with NaN, bool (n, n_labels), or None; as `task` says."""
        labels = self._labelled()
        return None if labels is None else labels.values

    @property
    def class_names(self) -> tuple[str, ...]:
        """Names of the classes, or of the labels of a multi-label task."""
        labels = self._labelled()
        return self._known.class_names if labels is None else labels.class_names

    @property
    def names_given(self) -> bool:
        """Whether the names of the classes came with the data; else they are the targets' own, in an assumed order."""
        return bool(self._known.class_names)

    @property
    def view(self) -> View:
        """How samples are shown: "image", "text", "row", "series" or "id"."""
        at_once = self._shown_at_once
        if at_once is not None:
            return at_once.view
        if self._record is not None:
            return self._record.view
        recorder = self._recorder()
        recorder.add(self._peek())
        assert recorder.view is not None
        return recorder.view

    @property
    def shown(self) -> Shown:
        """What is shown of the samples: thumbnails, texts, rows or series."""
        return self._shown_at_once or self._recorded().shown

    @property
    def ids(self) -> Array:
        """One id a sample, of shape (n,): names, files, or the rows' numbers."""
        if self._known.ids is not None:
            return self._known.ids
        if isinstance(self._source, Arrays):
            return np.arange(len(self))
        ids = self._recorded().ids
        assert ids is not None
        return ids

    @property
    def columns(self) -> dict[str, Array]:
        """The reader's own columns by name, each of shape (n,)."""
        if self._columns is None:
            found = {} if isinstance(self._source, Arrays) else self._recorded().columns
            self._columns = read_columns({**found, **self._known.columns}, len(self), self.name)
        return self._columns

    @property
    def unit_pictures(self) -> bool:
        """Whether the inputs are pictures with values in [0, 1], which a model's own transform takes."""
        inputs = self._source.inputs if isinstance(self._source, Arrays) else self._peek().inputs
        return are_unit_pictures(inputs)

    def __getitem__(self, rows: slice | Array | Sequence[int]) -> Samples:
        """Return the samples at `rows`; they keep their ids and class names."""
        chosen = self._rows(rows)
        part = Samples(self._source.take(chosen), self._known.take(chosen))
        if self._labels is not None:
            part._labels = replace(self._labels, values=self._labels.values[chosen])
            part._known = replace(part._known, task=self._labels.task, class_names=self._labels.class_names)
        if self._record is not None:
            part._record = self._record.take(chosen)
        return part

    def _rows(self, rows: Any) -> Array:
        if not isinstance(rows, slice) and np.ndim(rows) == 0:
            raise DataError(f"samples[{rows!r}]: give a slice or an array of rows, as in samples[:100]")
        n = len(self)
        try:
            chosen = np.arange(n)[rows if isinstance(rows, slice) else np.asarray(rows)]
        except (IndexError, TypeError) as problem:
            raise DataError(f"samples[{describe(rows)}] of {n:,} samples: {problem}") from problem
        if not len(chosen):
            raise DataError(f"samples[{rows!r}]: none of the {n:,} samples is in it")
        return chosen
