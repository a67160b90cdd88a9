"""Rows that a layer did not run for: a boolean array in memory, runs `[start, stop)` in a store."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt


def runs_of(mask: npt.NDArray[np.bool_]) -> list[list[int]]:
    """Return the runs of rows for which the mask is true."""
    # With a false row on either side, every run has a start and a stop.
    padded = np.concatenate(([False], mask, [False])).astype(np.int8)
    edges = np.flatnonzero(np.diff(padded))  # where a run starts and where it stops, in turn
    return edges.reshape(-1, 2).tolist()


def mask_of(runs: list[list[int]], rows: int) -> npt.NDArray[np.bool_]:
    """Return the mask of `rows` rows that is true in these runs."""
    mask = np.zeros(rows, bool)
    for start, stop in runs:
        mask[start:stop] = True
    return mask
