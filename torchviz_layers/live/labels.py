"""The true labels of a store's samples: the store's own, or those of the data that it was made from."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from torchviz_layers.data.targets import Targets, read_targets
from torchviz_layers.exceptions import DataError

if TYPE_CHECKING:
    from torchviz_layers.data import Samples
    from torchviz_layers.extraction import Activations


def matching_rows(path: Path, ids: NDArray[Any], samples: Samples) -> NDArray[np.int64]:
    """Return the row in `samples` of every id (n,); raise `DataError` if they do not have all of them."""
    row_of = {name: row for row, name in enumerate(samples.ids.tolist())}
    missing = [name for name in ids.tolist() if name not in row_of]
    if missing:
        raise DataError(
            f"data: {samples.name} has no sample {missing[0]!r} ({len(missing):,} of the {len(ids):,} ids of {path} "
            "are not in it); give the data that the store was made from"
        )
    return np.array([row_of[name] for name in ids.tolist()], np.int64)


def about_samples(acts: Activations) -> dict[str, Any]:
    """Return what a store knows of its samples: their `task` and, where they came with the data, `class_names`."""
    about = acts.provenance.get("samples")
    return about if isinstance(about, dict) else {}


def true_labels(
    path: Path, acts: Activations, samples: Samples | None = None, rows: NDArray[np.int64] | None = None
) -> tuple[Targets | None, list[str]]:
    """Return the labels of a store's samples, or None, and notes for the reader.

    Parameters
    ----------
    path, acts
        The store. What it knows of its task and classes decides how its targets are read.
    samples, rows
        The data that it was made from, and the row of each of its samples in them, (n,); their task and names count
        before those of the store.

    Raises
    ------
    DataError
        If the targets of store and data differ.
    """
    about = about_samples(acts)
    task, names = about.get("task"), tuple(about.get("class_names", ()))
    of_data = None
    if samples is not None:
        task, names = samples.task or task, samples.class_names or names
        if samples.targets is not None and samples.task is not None:
            of_data = Targets(samples.task, samples.targets[rows], samples.class_names)
    if acts.targets is None:
        return of_data, []
    try:
        of_store = read_targets(acts.targets, task=task, class_names=names, name=path.name)
    except DataError as problem:
        if of_data is not None:
            raise _other(path, samples, "") from problem
        return None, [f"the targets of the store are not shown: {str(problem).partition(';')[0]}"]
    if of_data is not None:
        differ = _count_different(of_store.values, of_data.values)
        if differ:
            raise _other(path, samples, f"{differ:,} of {acts.n_samples:,} ")
    return of_store, [of_store.notice]


def _count_different(one: NDArray[Any], other: NDArray[Any]) -> int:
    """Return for how many samples targets (n, ...) differ; targets that are missing in both are equal."""
    if one.shape != other.shape:
        return len(one)
    equal = np.isclose(one, other, equal_nan=True) if one.dtype.kind == "f" else one == other
    return int(np.count_nonzero(~equal.reshape(len(one), -1).all(axis=1)))


def _other(path: Path, samples: Samples | None, which: str) -> DataError:
    name = "the data" if samples is None else samples.name
    return DataError(
        f"data: {which}targets of {name} differ from those of {path}; give the data that the store was made from"
    )
