"""Too many samples for one page: a part of them that keeps all errors and corner cases, never silently."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from torchviz_layers.page.records import CornerCaseLike, Network, PageData

# The queue is ranked on all the evidence there is; the page shows neighbours only among its own samples.
QUEUE_OF_ALL = "the queue and its reasons read the neighbours among all"


@dataclass(frozen=True)
class _Case:
    kind: str
    sample: int
    score: float
    reason: str


def thinned(data: PageData, max_samples: int) -> PageData:
    """Return the data as they are or, above `max_samples`, a random part of them with a note that says so.

    Every error and every corner case stays, without targets every sample on which two networks differ, even where they
    alone are more than `max_samples`. Neighbours stay where those of the rows that `shown_rows` names are all among
    these rows.

    Parameters
    ----------
    data
        What the page shows.
    max_samples
        Number of samples that a browser draws at ease.
    """
    n = data.n_samples
    if n <= max_samples:
        return data
    rows = shown_rows(data, max_samples)
    part = _take(data, rows)
    what = [_promise(data)]
    if any(panel.neighbors is not None for panel in part.panels):
        what.append("neighbours and their votes are those among the shown")
        if data.corner_cases:
            what.append(QUEUE_OF_ALL)
    elif any(panel.neighbors is not None for panel in data.panels):
        what.append("no journeys, which need all of them")
    return replace(part, notes=(*data.notes, f"Shown: {len(rows):,} of {n:,} samples ({', '.join(what)})."))


def _promise(data: PageData) -> str:
    if data.targets is not None and any(network.predictions is not None for network in data.networks):
        return "all errors and corner cases among them; accuracies are those of all"
    if _differing(data) is not None:
        return "all on which the networks differ among them"
    return "drawn at random"


def shown_rows(data: PageData, max_samples: int) -> NDArray[np.int64]:
    """Return the rows that a page of at most `max_samples` shows, in order, the same at every call."""
    if data.n_samples <= max_samples:
        return np.arange(data.n_samples)
    kept = _must_stay(data)
    others = np.flatnonzero(~kept)
    room = max(0, max_samples - int(np.count_nonzero(kept)))
    kept[np.random.default_rng(0).choice(others, size=min(room, len(others)), replace=False)] = True
    return np.flatnonzero(kept)


def _must_stay(data: PageData) -> NDArray[np.bool_]:
    kept = np.zeros(data.n_samples, bool)
    differing = _differing(data)
    if data.targets is not None:
        for network in data.networks:
            if network.predictions is not None:
                kept |= network.predictions != data.targets
    elif differing is not None:
        kept |= differing
    kept[[case.sample for case in data.corner_cases]] = True
    return kept


def _differing(data: PageData) -> NDArray[np.bool_] | None:
    """Return where two networks answer differently; None where there are not two answers."""
    answers = [network.predictions for network in data.networks if network.predictions is not None]
    return np.not_equal(*answers) if len(answers) == 2 else None


def _take(data: PageData, rows: NDArray[np.int64]) -> PageData:
    position = {int(row): place for place, row in enumerate(rows)}
    ids = np.arange(data.n_samples) if data.ids is None else np.asarray(data.ids)
    return replace(
        data,
        images=_pictures(data, rows),
        texts=None if data.texts is None else [data.texts[row] for row in rows],
        targets=None if data.targets is None else data.targets[rows],
        ids=ids[rows],
        input_panel=None if data.input_panel is None else data.input_panel.take(rows),
        networks=tuple(_take_network(network, network.accuracy(data.targets), rows) for network in data.networks),
        corner_cases=[_moved(case, position[case.sample]) for case in data.corner_cases],
        count_of_all=data.count_of_all or data.n_samples,
    )


def _pictures(data: PageData, rows: NDArray[np.int64]) -> NDArray[Any] | list[NDArray[Any]] | None:
    if data.images is None or isinstance(data.images, np.ndarray):
        return None if data.images is None else data.images[rows]
    return [data.images[row] for row in rows]


def _take_network(network: Network, accuracy: float | None, rows: NDArray[np.int64]) -> Network:
    return replace(
        network,
        panels=tuple(panel.take(rows) for panel in network.panels),
        probabilities=None if network.probabilities is None else network.probabilities[rows],
        accuracy_of_all=accuracy,
    )


def _moved(case: CornerCaseLike, sample: int) -> CornerCaseLike:
    return _Case(case.kind, sample, case.score, case.reason)
