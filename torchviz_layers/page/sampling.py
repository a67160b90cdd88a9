"""The part that is shown of too many samples: all errors and corner cases stay, and the page says so."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from torchviz_layers.page.corner_case import CornerCaseLike
from torchviz_layers.page.metadata import as_column
from torchviz_layers.page.outcomes import count_labelled, errors_of
from torchviz_layers.page.records import PageData
from torchviz_layers.page.tasks import task_of

# The queue is ranked on the neighbours among all samples; the page shows only neighbours among its own.
QUEUE_OF_ALL = "the queue and its reasons use the neighbours among all samples"


@dataclass(frozen=True)
class _Case:
    kind: str
    sample: int
    score: float
    reason: str
    probability: float | None
    proposed: int | None
    total: int | None


def _moved(case: CornerCaseLike, row: int) -> _Case:
    known = [getattr(case, name, None) for name in ("probability", "proposed", "total")]
    return _Case(case.kind, row, case.score, case.reason, *known)


def thinned(data: PageData, max_samples: int) -> PageData:
    """Return the data, or a random part of more than `max_samples`, with a note that says so.

    Every error and every corner case stays; without targets, every sample on which two networks differ. They stay even
    if they alone are more than `max_samples`. A panel keeps its neighbours if those of the rows shown are all shown.

    Parameters
    ----------
    data
        What the page shows.
    max_samples
        Number of samples that a browser draws smoothly.
    """
    rows = shown_rows(data, max_samples)
    return data if len(rows) == data.n_samples else only_rows(data, rows)


def only_rows(data: PageData, rows: NDArray[np.int64]) -> PageData:
    """Return the data of the samples `rows` alone, with a note that says so; all corner cases must be among them."""
    part = _take(data, rows)
    what = [_promise(data, rows)]
    if part.has_neighbors:
        what.append("neighbours and their votes are those among the samples shown")
        if data.corner_cases:
            what.append(QUEUE_OF_ALL)
    elif data.has_neighbors:
        what.append("no journeys, which need all samples")
    note = f"Shown: {len(rows):,} of {data.n_samples:,} samples ({', '.join(what)})."
    return replace(part, notes=(*data.notes, note))


def _promise(data: PageData, rows: NDArray[np.int64]) -> str:
    """Return what the part is guaranteed to contain (see `_must_stay`)."""
    task = task_of(data)
    if task is not None:
        return task.promise(rows)
    if data.targets is not None and data.predictions:
        return "with all errors and corner cases; accuracies are those of all samples"
    if _differing(data) is not None:
        return "with all on which the networks differ"
    return "drawn at random"


def shown_rows(data: PageData, max_samples: int) -> NDArray[np.int64]:
    """Return the rows that a page of at most `max_samples` shows, ascending; the same for the same data."""
    if data.n_samples <= max_samples:
        return np.arange(data.n_samples)
    kept = _must_stay(data, max_samples)
    # The rest is drawn at random, with a fixed seed.
    others = np.flatnonzero(~kept)
    free = max(0, max_samples - int(np.count_nonzero(kept)))
    drawn = np.random.default_rng(0).choice(others, size=min(free, len(others)), replace=False)
    kept[drawn] = True
    return np.flatnonzero(kept)


def _must_stay(data: PageData, max_samples: int) -> NDArray[np.bool_]:
    """Return a mask of the samples that every part has to contain."""
    kept = np.zeros(data.n_samples, bool)
    task = task_of(data)
    if task is not None:
        # Errors are a matter of degree: at most half of the part are errors, the largest.
        kept = task.worst(max_samples // 2)
    differing = _differing(data)
    if data.targets is not None:
        for network in data.networks:
            kept |= errors_of(data, network)
    elif differing is not None:
        kept |= differing
    for case in data.corner_cases:
        kept[case.sample] = True
    return kept


def _differing(data: PageData) -> NDArray[np.bool_] | None:
    """Return a mask of the samples on which not all networks agree; None without two predictions."""
    if len(data.predictions) < 2:
        return None
    first, *others = data.predictions
    return np.asarray(np.any([predictions != first for predictions in others], axis=0))


def _take(data: PageData, rows: NDArray[np.int64]) -> PageData:
    """Return the data of these rows; accuracies stay those of all samples."""
    task = task_of(data)
    networks = []
    for network in data.networks:
        part = replace(
            network,
            panels=tuple(panel.take(rows) for panel in network.panels),
            probabilities=_rows_of(network.probabilities, rows),
            values=_rows_of(network.values, rows),
            accuracy_of_all=network.accuracy(data.targets),
            scores_of_all=None if task is None else task.scores(network),
        )
        networks.append(part)
    # Rows of all samples become rows of the part.
    position = {int(row): number for number, row in enumerate(rows)}
    cases = [_moved(case, position[case.sample]) for case in data.corner_cases]
    return replace(
        data,
        images=_rows_of(data.images, rows),
        texts=_rows_of(data.texts, rows),
        rows=_rows_of(data.rows, rows),
        series=_rows_of(data.series, rows),
        columns={name: as_column(values)[rows] for name, values in data.columns.items()},
        targets=_rows_of(data.targets, rows),
        values=_rows_of(data.values, rows),
        label_sets=_rows_of(data.label_sets, rows),
        ids=data.sample_ids[rows],
        input_panel=None if data.input_panel is None else data.input_panel.take(rows),
        networks=tuple(networks),
        corner_cases=cases,
        **({} if task is None else task.of_part(rows)),
        count_of_all=data.count_of_all or data.n_samples,
        labelled_of_all=None if data.targets is None else count_labelled(data),
    )


def _rows_of(values: Any, rows: NDArray[np.int64]) -> Any:
    """Return the entries of an array or a list; None of None."""
    if values is None:
        return None
    if isinstance(values, np.ndarray):
        return values[rows]
    return [values[row] for row in rows]
