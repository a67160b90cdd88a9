"""Ranks among distances on the CPU, counted instead of sorted."""

from __future__ import annotations

import numpy as np
from numba import prange

from torchviz_layers._common.arrays import Array
from torchviz_layers._common.numba import LOCK, parallel_jit


def count_ranks(distances: Array, columns: Array) -> Array:
    """Rank (from 1) of some columns (m, k) in their row of `distances` (m, n); equal entries by the lower column."""
    ranks = np.empty(columns.shape, np.int64)
    with LOCK:
        _count(distances, columns, ranks)
    return ranks


@parallel_jit
def _count(distances: Array, columns: Array, ranks: Array) -> None:
    for i in prange(columns.shape[0]):
        row = distances[i]
        for c in range(columns.shape[1]):
            column = columns[i, c]
            value = row[column]
            before = 0
            for j in range(row.shape[0]):
                before += row[j] < value
            for j in range(column):
                before += row[j] == value
            ranks[i, c] = before + 1
