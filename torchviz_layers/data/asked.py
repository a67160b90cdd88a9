"""What the caller says about the samples beside the data, and what is known of them before they are read."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from torch import Tensor

from torchviz_layers._common.arrays import Array, as_numpy
from torchviz_layers._common.nested import describe
from torchviz_layers.data.class_names import as_class_names
from torchviz_layers.data.opening import Opened
from torchviz_layers.data.parts import Part
from torchviz_layers.data.recording import Recorder, Shown
from torchviz_layers.data.sources import Chosen, Source
from torchviz_layers.data.targets import Task
from torchviz_layers.data.views import VIEWS, View
from torchviz_layers.exceptions import DataError


@dataclass(frozen=True)
class Known:
    """What is known of the samples: one value a sample in `targets`, `ids` and each column, or None.

    `look` makes what is shown of one sample; `shown` is what the caller shows in its place. `rows` are the numbers of
    samples that are part of others, their ids where there are no other ones.
    """

    targets: Any = None
    ids: Array | None = None
    columns: Mapping[str, Any] = field(default_factory=dict)
    class_names: tuple[str, ...] = ()
    task: Task | None = None
    view: View | None = None
    look: Callable[[Any], Any] | None = None
    shown: Shown | None = None
    rows: Array | None = None
    row_names: tuple[str, ...] = ()
    name: str = "samples"
    notices: tuple[str, ...] = ()
    dataset: str = ""

    def completed(self, part: Part, start: int) -> Part:
        """Return a batch with the targets and ids that are known apart; `start` is the row of its first sample."""
        stop = start + part.size
        targets, ids = part.targets, part.ids
        if self.targets is not None:
            targets = rows_of(self.targets, np.arange(start, min(stop, len(self.targets))))
        if self.ids is not None:
            ids = self.ids[start:stop]
        elif ids is None:
            ids = np.arange(start, stop) if self.rows is None else self.rows[start:stop]
        elif isinstance(ids, Tensor):
            ids = as_numpy(ids)
        return replace(part, targets=targets, ids=ids)

    def check(self, n: int) -> None:
        """Raise `DataError` where what is known has other than `n` rows."""
        looks = None if self.shown is None else self.shown.values
        given = {
            "targets": self.targets,
            "ids": self.ids,
            "looks (view=)": looks,
            **{f"the column {key!r}": v for key, v in self.columns.items()},
        }
        for what, values in given.items():
            if values is not None and len(values) != n:
                raise DataError(
                    f"{self.name}: {n:,} samples, but {len(values):,} {what}; give one for each, in the same order"
                )

    def take(self, rows: Array) -> Known:
        """Return what is known of some rows."""
        return replace(
            self,
            targets=rows_of(self.targets, rows),
            ids=None if self.ids is None else self.ids[rows],
            rows=rows if self.rows is None else self.rows[rows],
            columns={name: rows_of(values, rows) for name, values in self.columns.items()},
            shown=None if self.shown is None else self.shown.take(rows),
        )


def rows_of(values: Any, rows: Array) -> Any:
    """Return rows of an array, a tensor, a Series or a list."""
    if values is None:
        return None
    if hasattr(values, "iloc"):
        return values.iloc[rows]
    if isinstance(values, Tensor | np.ndarray):
        return values[rows.tolist()] if isinstance(values, Tensor) else values[rows]
    return [values[row] for row in rows.tolist()]


def known_of(opened: Opened) -> Known:
    """Return what data tell about themselves."""
    facts = opened.facts
    ids = None if facts.ids is None else _one_each("ids", facts.ids)
    return Known(
        targets=None if facts.targets is None else _one_each("targets", facts.targets),
        ids=ids,
        columns=facts.columns,
        class_names=facts.class_names,
        row_names=facts.row_names,
        name=facts.name or "samples",
        notices=facts.notices,
    )


def _one_each(what: str, values: Any) -> Any:
    """Return values that can be counted; ids as an array."""
    if hasattr(values, "tocsr"):  # SciPy's, of several labels a sample
        values = values.toarray()
    if isinstance(values, str) or not hasattr(values, "__len__") or not hasattr(values, "__getitem__"):
        raise DataError(f"{what} of type {type(values).__name__} ({describe(values)[:80]}): give one value a sample")
    if getattr(values, "ndim", 1) == 0:
        raise DataError(f"{what}: one number; give one value a sample, of shape (n_samples,)")
    if what != "ids":
        return values
    ids = as_numpy(values)
    if ids.ndim != 1:
        raise DataError(f"ids of shape {ids.shape}: give one number or text a sample, of shape (n_samples,)")
    return ids


@dataclass(frozen=True, eq=False)
class Asked:
    """The arguments of `Samples.of` that say something about the samples."""

    targets: Any = None
    view: Any = None
    task: Task | None = None
    columns: Any = None
    ids: Any = None
    class_names: Any = None
    limit: int | None = None
    name: str | None = None

    def __post_init__(self) -> None:
        """Raise `DataError` for a limit that is none, before data without an end are read."""
        if self.limit is None:
            return
        if isinstance(self.limit, bool) or not isinstance(self.limit, int) or self.limit < 1:
            raise DataError(f"limit: a positive number expected, got {self.limit!r}")

    @property
    def is_empty(self) -> bool:
        """Whether nothing is asked."""
        return all(value is None for value in vars(self).values())

    def applied(self, source: Source, known: Known) -> tuple[Source, Known]:
        """Return the source and what is known of it with what was asked in place of what the data say."""
        changes: dict[str, Any] = {}
        if self.targets is not None and not isinstance(self.targets, str):
            changes["targets"] = _one_each("targets", self.targets)
        if self.ids is not None:
            changes["ids"] = _one_each("ids", self.ids)
        if self.columns is not None:
            changes["columns"] = {**known.columns, **_columns(self.columns)}
        if self.class_names is not None:
            changes["class_names"] = as_class_names(self.class_names)
        if self.task is not None:
            changes["task"] = self.task
        if self.name is not None:
            changes["name"] = str(self.name)
        if self.view is not None:
            changes |= _view(self.view)
        known = replace(known, **changes)
        if source.n is not None:
            known.check(source.n)
        return self._limited(source, known)

    def _limited(self, source: Source, known: Known) -> tuple[Source, Known]:
        """Return the head of a source whose length is not known."""
        if self.limit is None:
            return source, known
        if source.n is not None:
            return source, known  # their head is taken once the labels of all are read
        columns = {name: _head(values, self.limit) for name, values in known.columns.items()}
        heads = {"targets": _head(known.targets, self.limit), "ids": _head(known.ids, self.limit)}
        known = replace(known, **heads, columns=columns)
        return Chosen(source, np.arange(self.limit), exact=False), known


def _head(values: Any, limit: int) -> Any:
    return None if values is None else values[:limit]


def _columns(columns: Any) -> Mapping[str, Any]:
    """Return columns as a mapping; their values are checked when the number of samples is known."""
    if isinstance(columns, Mapping):
        for name, values in columns.items():
            _one_each(f"columns[{name!r}]", values)
        return {str(name): values for name, values in columns.items()}
    if hasattr(columns, "columns") and hasattr(columns, "__getitem__"):  # a DataFrame of pandas or polars
        return {str(name): columns[name] for name in columns.columns}
    raise DataError(
        f"columns of type {type(columns).__name__}: give a mapping of names to values, columns={{'age': ages}} say, or "
        "a DataFrame"
    )


def _view(view: Any) -> dict[str, Any]:
    """Return what `view=` changes: a name, a function of a sample, or what is shown of each sample."""
    if isinstance(view, str):
        if view not in VIEWS:
            raise DataError(f"view={view!r}: it is one of {', '.join(VIEWS)}, a function of a sample, or a list")
        return {"view": view, "look": None, "shown": None}
    if callable(view):
        return {"view": None, "look": view, "shown": None}
    if not hasattr(view, "__len__") or not hasattr(view, "__getitem__") or not len(view):
        raise DataError(
            f"view of type {type(view).__name__}: give one of {', '.join(VIEWS)}, a function of a sample, or a list "
            "of pictures or texts"
        )
    recorder = Recorder(None)
    recorder.add(Part(None, len(view), looks=view))
    record = recorder.finish()
    return {"view": record.view, "look": None, "shown": record.shown}
