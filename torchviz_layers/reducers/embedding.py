"""Layers laid out in the plane, each aligned with the one before; more rows than memory holds go through in blocks."""

from __future__ import annotations

import copy
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from tqdm import tqdm

from torchviz_layers._common.distributed import WorkerGroup, worker_group
from torchviz_layers._common.memory import available_memory
from torchviz_layers._common.selectors import resolve_layers
from torchviz_layers.exceptions import NonFiniteError, ReducerError
from torchviz_layers.neighbors import knn
from torchviz_layers.reducers.align import align, alignment
from torchviz_layers.reducers.registry import Reducer, make_reducer
from torchviz_layers.reducers.umap import UMAP

N_NEIGHBORS = 15  # found once a layer: the embedding, the votes, the journeys and the measures all read them
_BLOCK_BYTES = 64 << 20
_SHARE = 4  # a layer is fitted whole if it takes up to a quarter of free memory


@dataclass(frozen=True, eq=False, repr=False)
class Embedding:
    """One layer laid out in the plane.

    Attributes
    ----------
    Z : ndarray of shape (n_samples, n_components)
        float32 coordinates, aligned with the layer before where asked.
    neighbors : ndarray of shape (n_samples, 15 or fewer)
        Each sample's nearest others in ACTIVATION space, nearest first; none (n_samples, 0) where the reducer was
        fitted on a sample.
    engine, reason : str
        What computed it, and why that.
    seconds : float
        Wall time, neighbours included.
    """

    Z: np.ndarray
    neighbors: np.ndarray
    engine: str
    reason: str
    seconds: float

    def __repr__(self) -> str:
        rows, components = self.Z.shape
        return f"<Embedding: {rows:,} x {components} by {self.engine} in {self.seconds:.1f} s>"


def embed(
    activations: Mapping[str, Any],
    layers: str | int | Sequence[str | int] | None = None,
    *,
    reducer: str | Reducer = "umap",
    fit_on: int | None = None,
    reference: np.ndarray | None = None,
    align_layers: bool = True,
    device: str | torch.device = "auto",
    progress: bool = True,
) -> dict[str, Embedding]:
    """Lay layers out in the plane, each aligned with the one before.

    Under ``torchrun`` the first process fits, every process transforms its own blocks of rows, and all return the same.

    Parameters
    ----------
    activations : Activations, or a mapping of layer name to array of shape (n_samples, ...)
        Further axes are flattened. Zarr arrays are read in blocks where they are not fitted whole.
    layers : str, int or sequence of such, optional
        Which ones, in which order: names, indices (-1 the last) or globs (`conv_*`); default all.
    reducer : str or object with `fit_transform`
        A name that `make_reducer` knows, or an estimator; it is copied for each layer, not changed.
    fit_on : int, optional
        Fit on so many rows, drawn by a fixed seed and the same for every layer, and `transform` all others in among
        them, in blocks. Default: all rows, or what a quarter of the free memory holds.
    reference : ndarray of shape (n_samples, n_components), optional
        What the first layer is aligned with.
    align_layers : bool
        Turn and mirror each layer onto the one before (orthogonal Procrustes), so that a class stays where it was.
    device : str or torch.device
        Where neighbours are searched, and UMAP runs if the reducer is given by name.
    progress : bool
        Show a bar on what takes over two seconds.

    Returns
    -------
    dict of str to Embedding
        In the order of `layers`.

    Raises
    ------
    UnknownLayerError
        If a name, index or glob matches no layer.
    NonFiniteError
        If a layer holds NaN or infinity; the message names the layer and the rows.
    ReducerError
        If the reducer cannot do as asked: one without `transform` needs all rows at once, and all need two samples.

    Examples
    --------
    >>> layers = {"a": np.eye(30, dtype=np.float32), "b": np.ones((30, 4, 2), np.float32)}
    >>> {name: e.Z.shape for name, e in embed(layers, reducer="pca").items()}
    {'a': (30, 2), 'b': (30, 2)}
    """
    names = resolve_layers(activations, layers)
    options = {} if device == "auto" else {"device": device}
    base = make_reducer(reducer, **options) if isinstance(reducer, str) else reducer
    embeddings: dict[str, Embedding] = {}
    bar = tqdm(names, desc="embedding", unit="layer", delay=2, leave=False, disable=None if progress else True)
    with worker_group() as workers:
        for name in bar:
            given = activations[name]
            layer = _Layer(name, given if hasattr(given, "shape") else np.asarray(given), base, device, progress)
            if layer.n < 2:
                raise ReducerError(f"layer {name!r} has {layer.n} sample(s): at least 2 are needed to lay it out")
            # Available memory differs between processes, so that one must decide for all.
            rows = workers.broadcast(_fitted_rows(layer, fit_on) if workers.is_first else None)
            found = layer.whole(reference, workers) if rows is None else layer.in_blocks(rows, reference, workers)
            embeddings[name] = found
            if align_layers:
                reference = found.Z
    return embeddings


def _fitted_rows(layer: _Layer, fit_on: int | None) -> np.ndarray | None:
    """Return the rows to fit on, ascending, or None for all."""
    n = layer.n
    if fit_on is not None and fit_on < 1:
        raise ReducerError(f"fit_on={fit_on}: it must be at least 1 row, or None for as many as memory holds")
    if fit_on is None:
        free = available_memory()
        fit_on = n if free is None else max(1, free // _SHARE // layer.row_bytes)
    return None if fit_on >= n else np.sort(np.random.default_rng(0).choice(n, fit_on, replace=False))


@dataclass(frozen=True)
class _Layer:
    """One layer's rows and what lays them out."""

    name: str
    array: Any
    base: Reducer
    device: str | torch.device
    progress: bool

    @property
    def n(self) -> int:
        return int(self.array.shape[0])

    @property
    def row_bytes(self) -> int:
        """Bytes of a row as it is calculated with, in float32."""
        return 4 * int(np.prod(self.array.shape[1:], dtype=np.int64))

    def whole(self, reference: np.ndarray | None, workers: WorkerGroup) -> Embedding:
        """Fit all rows, in the first process."""
        return workers.broadcast(self._fit_all(reference) if workers.is_first else None)  # type: ignore[no-any-return]

    def _fit_all(self, reference: np.ndarray | None) -> Embedding:
        start = time.perf_counter()
        X = as_rows(self.name, self.array)
        indices, distances = knn(X, min(N_NEIGHBORS, len(X) - 1), device=self.device)
        reducer = copy.deepcopy(self.base)
        if isinstance(reducer, UMAP):
            _hand_over(reducer, indices, distances)
        Z = np.asarray(reducer.fit_transform(X), np.float32)
        if reference is not None:
            Z = align(Z, reference)
        return Embedding(Z, indices, *_made_by(reducer), time.perf_counter() - start)

    def in_blocks(self, rows: np.ndarray, reference: np.ndarray | None, workers: WorkerGroup) -> Embedding:
        """Fit some rows in the first process, and transform all in blocks, each process its own."""
        start = time.perf_counter()
        if not hasattr(self.base, "transform"):
            raise ReducerError(
                f"{type(self.base).__name__} has no transform, so that it cannot be fitted on {len(rows):,} of the "
                f"{self.n:,} rows of {self.name!r}; take umap or pca, or fewer samples"
            )
        reducer: Any = workers.broadcast(self._fit(rows) if workers.is_first else None)
        blocks = [block for place, block in enumerate(self._blocks()) if place % workers.size == workers.rank]
        bar = tqdm(blocks, desc=self.name, unit="block", delay=2, leave=False, disable=None if self.progress else True)
        mine = [(block.start, self._transformed(reducer, block)) for block in bar]
        parts = sorted((part for found in workers.all_gather(mine) for part in found), key=lambda part: part[0])
        Z = np.concatenate([values for _, values in parts])
        if reference is not None:
            Z = alignment(Z[rows], reference[rows])(Z)
        engine, reason = _made_by(reducer)
        reason += f"; fitted on {len(rows):,} of {self.n:,} rows, the others transformed in among them"
        return Embedding(Z, np.empty((self.n, 0), np.int64), engine, reason, time.perf_counter() - start)

    def _fit(self, rows: np.ndarray) -> Any:
        reducer: Any = copy.deepcopy(self.base)
        if isinstance(reducer, UMAP):
            reducer.keep_data = True  # the copies that other processes get need it
        parts = [as_rows(self.name, self.array[block], block)[_inside(rows, block)] for block in self._blocks()]
        reducer.fit_transform(np.concatenate(parts))
        return reducer

    def _transformed(self, reducer: Any, block: slice) -> np.ndarray:
        return np.asarray(reducer.transform(as_rows(self.name, self.array[block], block)), np.float32)

    def _blocks(self) -> Iterator[slice]:
        """Cut the rows into blocks of about 64 MB, whole chunks where they come in chunks."""
        step = max(1, _BLOCK_BYTES // max(1, self.row_bytes))
        chunk = (getattr(self.array, "chunks", None) or (1,))[0]
        step = max(chunk, step // chunk * chunk) if isinstance(chunk, int) else step  # Dask's chunks are tuples
        yield from (slice(start, min(start + step, self.n)) for start in range(0, self.n, step))


def _inside(rows: np.ndarray, block: slice) -> np.ndarray:
    """Return those of the ascending rows that are in a block, counted from its start."""
    first, last = np.searchsorted(rows, [block.start, block.stop])
    inside: np.ndarray = rows[first:last] - block.start
    return inside


def _made_by(reducer: Any) -> tuple[str, str]:
    """Return the engine of a fitted reducer, and why that."""
    return (
        getattr(reducer, "engine_", type(reducer).__name__),
        getattr(reducer, "engine_reason_", "the reducer that was given"),
    )


def _hand_over(reducer: UMAP, indices: np.ndarray, distances: np.ndarray) -> None:
    """Give UMAP the neighbours that are found already, where they are those that it would look for."""
    n, k = indices.shape
    if reducer.precomputed_knn is None and reducer.metric == "euclidean" and reducer.n_neighbors <= k + 1:
        itself = np.arange(n)[:, None]  # UMAP counts each point as its own first neighbour
        reducer.precomputed_knn = np.hstack([itself, indices]), np.hstack([np.zeros((n, 1), np.float32), distances])


def as_rows(name: str, activations: Any, rows: slice | None = None) -> np.ndarray:
    """Return a layer's rows as (n_samples, n_features) float32; refuse NaN and infinity by name.

    `rows` says which rows of the layer these are, for the message.
    """
    if isinstance(activations, torch.Tensor):  # NumPy reads no graph, no card and no bfloat16
        activations = activations.detach().float().cpu()
    X = np.asarray(activations, np.float32)
    X = X.reshape(len(X), -1)
    bad = np.flatnonzero(~np.isfinite(X).all(1))
    if bad.size:
        first = 0 if rows is None else rows.start
        shown = ", ".join(map(str, bad[:5] + first)) + (", ..." if bad.size > 5 else "")
        raise NonFiniteError(f"layer {name!r}: {bad.size} of {len(X)} rows hold NaN or infinity (rows {shown})")
    return X
