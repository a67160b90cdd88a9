"""`Samples`: any data that a PyTorch project has, read once for all networks, with what is known of each sample."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from torchviz_layers._common.arrays import Array
from torchviz_layers._common.nested import describe
from torchviz_layers.data.asked import Asked, known_of
from torchviz_layers.data.items import Reading, checked
from torchviz_layers.data.opening import open_data, open_table
from torchviz_layers.data.passes import Passes
from torchviz_layers.data.recording import Shown
from torchviz_layers.data.relabelling import changed_labels, read_decisions
from torchviz_layers.data.tables import is_table
from torchviz_layers.data.targets import Task
from torchviz_layers.data.views import View
from torchviz_layers.exceptions import DataError

Batch = tuple[Any, Any, Array]
BATCH_SIZE = 256


class Samples:
    """Samples of any kind; make them with `Samples.of` or `load_dataset`.

    What a network is fed and what a reader sees of a sample are two things. `batches` yields the first, and each full
    pass of it records the second: of exactly that draw, small, and beyond 64 MB in a temporary file. Inputs are never
    kept. What is asked before a pass, and cannot be known without one, is read in a pass of its own.

    Examples
    --------
    >>> samples = Samples.of((np.zeros((3, 1, 8, 8), np.float32), ["cat", "dog", "dog"]))
    >>> samples, samples.view, samples.class_names, samples.targets.tolist()
    (<samples: 3 samples, classification>, 'image', ('cat', 'dog'), [0, 1, 1])
    """

    def __init__(self, passes: Passes) -> None:
        self._passes = passes

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
        """Take data as a project has them.

        Parameters
        ----------
        data
            A torch `Dataset` whose items are inputs, `(input, target[, id])` or dicts (`{"image": x, "label": y}`); an
            iterable one; a `DataLoader` that does not shuffle, whose batches are fed as they are; an array or tensor
            (n, ...), `(X, y)` or a dict of arrays; a list of pictures or texts; a Hugging Face dataset; a DataFrame of
            pandas or polars; `Samples`.

            Items of a dataset or a loader are fed as they come. Bare arrays, tensors and pictures are fed as float32;
            those of 8 or 16 bits in [0, 1], with the channels first.
        targets
            One a sample, in place of those in the data; or the name of their column.
        view : str, function or sequence, optional
            How samples are shown: "image", "text", "row", "series" or "id"; a function that makes a picture, a text or
            numbers of a sample as it was before any transform; or these for all samples. Default: by their shape.
        task : {"classification", "regression", "multilabel"}, optional
            What the targets are for; by default they decide.
        columns : mapping or DataFrame, optional
            The reader's own columns, one value a sample.
        ids : sequence, optional
            One id a sample; by default those in the data, the files of torchvision's folders, or the rows.
        class_names : sequence of str, optional
            In the order of the network's outputs; by default those that the data know.
        transform : function, optional
            Makes the input of a sample (a picture, say). What is shown is the sample as it was.
        tokenizer : function, optional
            Called as `tokenizer(texts, padding=True, truncation=True, return_tensors="pt")`.
        collate : function, optional
            Makes a batch's inputs of a list of samples' inputs.
        limit : int, optional
            Take the first samples only.
        name : str, optional
            A name for all of them, for titles.

        Raises
        ------
        DataError
            Where data or options are none of these: with what was given, what is taken and how to correct it.

        Examples
        --------
        >>> Samples.of({"image": np.zeros((2, 8, 8, 3), np.uint8), "age": [3, 7]}).columns["age"].tolist()
        [3, 7]
        """
        asked = Asked(targets, view, task, columns, ids, class_names, limit, name)
        reading = checked(Reading(targets if isinstance(targets, str) else None, transform, tokenizer, collate))
        if isinstance(data, Samples):
            if transform or tokenizer or collate or isinstance(targets, str):
                raise DataError(
                    "transform, tokenizer, collate and a column's name as targets belong to the first Samples.of(data, "
                    f"...): this is {data!r}, whose inputs are decided"
                )
            if asked.is_empty:
                return data
            source, known = data._passes.source, data._passes.known
        else:
            if is_table(data):  # whose columns `targets` and `columns` may name
                opened = open_table(data, reading, targets, columns)
                asked = replace(asked, targets=None, columns=None)
            else:
                opened = open_data(data, reading, limit)
            source, known = opened.source, known_of(opened)
        samples = cls(Passes.begun(*asked.applied(source, known)))
        if limit is None or source.n is None:
            return samples
        return samples[:limit]  # now that the classes of all are known: their order is that of the network's outputs

    def known_as(self, notice: str, dataset: str = "") -> Samples:
        """Return the same samples with a further sentence for readers, and with `load_dataset`'s name for them."""
        known = self._passes.known
        known = replace(known, notices=(*known.notices, notice), dataset=dataset)
        return Samples(Passes.begun(self._passes.source, known))

    def __len__(self) -> int:
        n = self.n_known
        return self._passes.recorded().n if n is None else n

    @property
    def n_known(self) -> int | None:
        """Number of samples, or None where only a pass tells; unlike `len`, it reads nothing."""
        return self._passes.n

    def __repr__(self) -> str:
        n = "?" if self.n_known is None else f"{self.n_known:,}"
        labels = self._passes.labels_read
        return f"<{self.name}: {n} samples{'' if labels is None else f', {labels.task}'}>"

    @property
    def name(self) -> str:
        """A name for all of them, for titles."""
        return self._passes.known.name

    @property
    def dataset(self) -> str:
        """The name under which `load_dataset` knows them; empty for other data."""
        return self._passes.known.dataset

    @property
    def notice(self) -> str:
        """Sentences that readers of the results must see, joined by semicolons; usually empty."""
        return "; ".join(self._passes.notices)

    def batches(self, batch_size: int | None = None, transform: Callable[[Any], Any] | None = None) -> Iterator[Batch]:
        """Yield `(inputs, targets, ids)` in order; a full pass records what is shown, one that is cut short nothing.

        Inputs are what a loop over the data feeds a network; a loader keeps its own batches, whatever `batch_size`
        says (256 by default). Targets are as given, None where unknown. `transform`, a model's own, is applied to each
        batch of inputs.

        Raises
        ------
        DataError
            If a sample cannot be read, with its row; if `transform` fails, with the inputs' shape.
        """
        batch_size = BATCH_SIZE if batch_size is None else batch_size
        if isinstance(batch_size, bool) or not isinstance(batch_size, int | np.integer) or batch_size < 1:
            raise DataError(f"batch_size={batch_size}: a whole number expected, at least 1")
        return self._passes.batches(int(batch_size), transform)

    @property
    def task(self) -> Task | None:
        """What the targets are for: "classification", "regression", "multilabel", or None without targets."""
        labels = self._passes.labels()
        return None if labels is None else labels.task

    @property
    def targets(self) -> Array | None:
        """int64 (n,) with -1 = unlabelled, float64 (n,) with NaN, bool (n, n_labels), or None; as `task` says."""
        labels = self._passes.labels()
        return None if labels is None else labels.values

    @property
    def class_names(self) -> tuple[str, ...]:
        """Names of the classes, or of the labels of a multi-label task."""
        labels = self._passes.labels()
        return self._passes.known.class_names if labels is None else labels.class_names

    @property
    def names_given(self) -> bool:
        """Whether the names of the classes came with the data; else they are the targets' own, in an assumed order."""
        return bool(self._passes.known.class_names)

    def with_class_names(self, names: Sequence[str]) -> Samples:
        """Return the samples with the classes in the order of `names`, which are those of a network's outputs.

        Raises
        ------
        DataError
            If a target is none of them.
        """
        return Samples(self._passes.with_class_names(tuple(map(str, names))))

    def relabelled(self, path: str | Path) -> Samples:
        """Return the samples with the labels that were changed on the page; these samples stay as they are.

        `path` is the CSV or JSON file that the page saves beside "Decisions". "change" gives a sample its new label;
        "keep" and "unsure" leave it. `notice` says how many were changed. For classification only.

        Raises
        ------
        DataError
            If the file is no table of decisions, or has an id or a class that these samples don't have.
        """
        if self.task != "classification" or self.targets is None:
            raise DataError(
                f"{self.name}: relabelled is for samples with one class each, and these are for "
                f"{self.task or 'no task, without targets'}; change their targets and give Samples.of(..., targets=)"
            )
        decisions = read_decisions(path)
        labels, count = changed_labels(decisions, self.targets, self.ids, self.class_names, path)
        relabelled = Samples(self._passes.with_labels(labels))
        labels_are = "label is" if count == 1 else "labels are"
        return relabelled.known_as(f"{count:,} {labels_are} changed, by {Path(path).name}", self.dataset)

    @property
    def view(self) -> View:
        """How samples are shown: "image", "text", "row", "series" or "id"."""
        return self._passes.view()

    @property
    def shown(self) -> Shown:
        """What is shown of the samples: thumbnails, texts, rows or series."""
        return self._passes.shown()

    @property
    def ids(self) -> Array:
        """One id a sample, of shape (n,): names, files, or the rows' numbers."""
        return self._passes.ids()

    @property
    def columns(self) -> dict[str, Array]:
        """The reader's own columns by name, each of shape (n,)."""
        return self._passes.columns()

    @property
    def unit_pictures(self) -> bool:
        """Whether the inputs are pictures with values in [0, 1], which a model's own transform takes."""
        return self._passes.unit_pictures()

    def __getitem__(self, rows: slice | Array | Sequence[int]) -> Samples:
        """Return the samples at `rows`; they keep their ids and class names."""
        if not isinstance(rows, slice) and np.ndim(rows) == 0:
            raise DataError(f"samples[{rows!r}]: give a slice or an array of rows, as in samples[:100]")
        n = len(self)
        try:
            chosen = np.arange(n)[rows if isinstance(rows, slice) else np.asarray(rows)]
        except (IndexError, TypeError) as problem:
            raise DataError(f"samples[{describe(rows)}] of {n:,} samples: {problem}") from problem
        if not len(chosen):
            raise DataError(f"samples[{rows!r}]: none of the {n:,} samples is in it")
        return Samples(self._passes.take(chosen))
