"""Layers embedded in the plane, each aligned with the one before; more rows than memory holds are read in blocks."""

from __future__ import annotations

import copy
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from tqdm import tqdm

from torchviz_layers._common.arrays import Array, CheckedRows, as_numpy, as_rows
from torchviz_layers._common.distributed import WorkerGroup, worker_group
from torchviz_layers._common.memory import available_memory
from torchviz_layers._common.selectors import resolve_layers
from torchviz_layers.data import Samples
from torchviz_layers.exceptions import DataError, ReducerError
from torchviz_layers.extraction import InputRows, extract, input_column
from torchviz_layers.neighbors import knn
from torchviz_layers.reducers.align import align, alignment
from torchviz_layers.reducers.registry import Reducer, checked_reducer
from torchviz_layers.reducers.umap import UMAP

N_NEIGHBORS = 15  # searched once a layer, for the embedding, the votes, the journeys and the measures
_BLOCK_BYTES = 64 << 20
_SHARE = 4  # a layer is fitted whole if it takes at most a quarter of the free memory


@dataclass(frozen=True, eq=False, repr=False)
class Embedding:
    """One layer embedded in the plane.

    Attributes
    ----------
    Z : ndarray of shape (n_samples, n_components)
        float32 coordinates, aligned with the layer before if `align_layers` is set.
    neighbors : ndarray of shape (n_samples, 15 or fewer)
        Each sample's nearest others in ACTIVATION space, nearest first; none (n_samples, 0) where the reducer was
        fitted on a sample.
    engine, reason : str
        The engine that computed it, and why.
    seconds : float
        Wall time, neighbours included.
    """

    Z: Array
    neighbors: Array
    engine: str
    reason: str
    seconds: float

    def __repr__(self) -> str:
        rows, components = self.Z.shape
        return f"<Embedding: {rows:,} x {components} by {self.engine} in {self.seconds:.1f} s>"


def embed(
    activations: Any,
    layers: str | int | Sequence[str | int] | None = None,
    *,
    reducer: str | Reducer = "umap",
    fit_on: int | None = None,
    reference: Array | None = None,
    align_layers: bool = True,
    device: str | torch.device = "auto",
    progress: bool = True,
) -> dict[str, Embedding]:
    """Embed layers in the plane, each aligned with the one before; or the inputs of samples.

    Under ``torchrun`` the first process fits, every process transforms its own blocks of rows, and all return the same.

    Parameters
    ----------
    activations : Activations, or a mapping of layer name to array of shape (n_samples, ...), or samples
        Axes after the first are flattened. Zarr arrays are read in blocks if they are not fitted whole. Of an array, a
        tensor or whatever else `Samples.of` takes, the inputs are embedded, under the name "input".
    layers : str, int or sequence of such, optional
        Which ones, in which order: names, indices (-1 the last) or globs (`conv_*`); default all.
    reducer : str or object with `fit_transform`
        A name that `make_reducer` knows, or an estimator; it is copied for each layer, not changed.
    fit_on : int, optional
        Fit on this many rows, drawn with a fixed seed and the same for every layer, and `transform` all rows in
        blocks. Default: all rows, or as many as fit in a quarter of the free memory.
    reference : ndarray of shape (n_samples, n_components), optional
        What the first layer is aligned with.
    align_layers : bool
        Rotate and reflect each layer onto the one before (orthogonal Procrustes), so that classes keep their positions.
    device : str or torch.device
        Where neighbours are searched, and where UMAP runs if the reducer is a name.
    progress : bool
        Show a progress bar for what takes more than two seconds.

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
    DataError
        If it is neither layers nor samples, or the samples' inputs are no rows of numbers of one length.
    ReducerError
        If there are fewer than two samples, or a reducer without `transform` cannot have all rows at once.

    Examples
    --------
    >>> layers = {"a": np.eye(30, dtype=np.float32), "b": np.ones((30, 4, 2), np.float32)}
    >>> {name: e.Z.shape for name, e in embed(layers, reducer="pca").items()}
    {'a': (30, 2), 'b': (30, 2)}
    >>> list(embed(np.eye(30), reducer="pca"))
    ['input']
    """
    if not isinstance(activations, Mapping):
        activations = {"input": _inputs(activations, progress=progress)}
    names = resolve_layers(activations, layers)
    base = checked_reducer(reducer, device)
    embeddings: dict[str, Embedding] = {}
    bar = tqdm(names, desc="embedding", unit="layer", delay=2, leave=False, disable=None if progress else True)
    with worker_group() as workers:
        for name in bar:
            values = activations[name]
            array = values if hasattr(values, "shape") else np.asarray(values)
            if not len(array.shape):
                raise ReducerError(f"layer {name!r} is one {type(values).__name__}: give rows, (n_samples, ...)")
            layer = _Layer(name, array, base, device, progress)
            if layer.n < 2:
                raise ReducerError(f"layer {name!r} has {layer.n} sample(s): at least 2 are needed to embed it")
            # The first process decides for all: free memory differs between machines.
            rows = workers.broadcast(_fitted_rows(layer, fit_on) if workers.is_first else None)
            if rows is None:
                embedding = layer.whole(reference, workers)
            else:
                embedding = layer.in_blocks(rows, reference, workers)
            embeddings[name] = embedding
            if align_layers:
                reference = embedding.Z
    return embeddings


def _inputs(data: Any, *, progress: bool) -> Any:
    """Return the inputs of samples, an array of shape (n_samples, ...); Zarr's where they take more than memory has."""
    if isinstance(data, torch.Tensor | np.ndarray) and data.ndim and data.dtype != object:
        return data
    # Samples first: without it a list of arrays would be read as batches.
    captured = extract(InputRows(most=sys.maxsize), Samples.of(data), progress=progress)
    rows, why = input_column(captured)
    if rows is None:
        raise DataError(
            f"embed: {why}; give embed rows of numbers, such as the layers that extract(model, data) returns"
        )
    return rows


def _fitted_rows(layer: _Layer, fit_on: int | None) -> Array | None:
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
    """One layer's rows and the reducer that embeds them."""

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
        """Bytes of a row in float32."""
        return 4 * int(np.prod(self.array.shape[1:], dtype=np.int64))

    def whole(self, reference: Array | None, workers: WorkerGroup) -> Embedding:
        """Fit all rows in the first process, and send the result to the others."""
        return workers.broadcast(self._fit_all(reference) if workers.is_first else None)  # type: ignore[no-any-return]

    def _fit_all(self, reference: Array | None) -> Embedding:
        start = time.perf_counter()
        X = layer_rows(self.name, self.array)
        indices, distances = knn(X, min(N_NEIGHBORS, len(X) - 1), device=self.device)
        reducer = copy.deepcopy(self.base)
        if isinstance(reducer, UMAP):
            _pass_neighbors(reducer, indices, distances)
        Z = np.asarray(reducer.fit_transform(_two_features(X, reducer)), np.float32)
        if reference is not None:
            Z = align(Z, reference)
        return Embedding(Z, indices, *_engine_of(reducer), time.perf_counter() - start)

    def in_blocks(self, rows: Array, reference: Array | None, workers: WorkerGroup) -> Embedding:
        """Fit some rows in the first process; then each process transforms every `size`-th block, and all get all."""
        start = time.perf_counter()
        if not hasattr(self.base, "transform"):
            raise ReducerError(
                f"{type(self.base).__name__} has no transform, so that it cannot be fitted on {len(rows):,} of the "
                f"{self.n:,} rows of {self.name!r}; take umap or pca, or fewer samples"
            )
        reducer: Any = workers.broadcast(self._fit(rows) if workers.is_first else None)
        own = [block for number, block in enumerate(self._blocks()) if number % workers.size == workers.rank]
        bar = tqdm(own, desc=self.name, unit="block", delay=2, leave=False, disable=None if self.progress else True)
        transformed = [(block.start, self._transformed(reducer, block)) for block in bar]
        parts = []
        for of_worker in workers.all_gather(transformed):
            parts += of_worker
        parts.sort(key=lambda part: part[0])  # by first row: the workers took turns
        Z = np.concatenate([values for _, values in parts])
        if reference is not None:
            # The alignment is fitted on the fitted rows alone, so that the blocks do not change it.
            Z = alignment(Z[rows], reference[rows])(Z)
        engine, reason = _engine_of(reducer)
        reason += f"; fitted on {len(rows):,} of {self.n:,} rows, the others transformed"
        return Embedding(Z, np.empty((self.n, 0), np.int64), engine, reason, time.perf_counter() - start)

    def _fit(self, rows: Array) -> Any:
        reducer: Any = copy.deepcopy(self.base)
        if isinstance(reducer, UMAP):
            reducer.keep_data = True  # the copies that other processes get need it
        parts = []
        for block in self._blocks():  # a block at a time: the whole layer may not fit in memory
            values = layer_rows(self.name, self.array[block], block.start)
            parts.append(values[_inside(rows, block)])
        reducer.fit_transform(_two_features(np.concatenate(parts), reducer))
        return reducer

    def _transformed(self, reducer: Any, block: slice) -> Array:
        X = layer_rows(self.name, self.array[block], block.start)
        return np.asarray(reducer.transform(_two_features(X, reducer)), np.float32)

    def _blocks(self) -> Iterator[slice]:
        """Cut the rows into blocks of about 64 MB: whole chunks of an array that is stored in chunks (Zarr)."""
        step = max(1, _BLOCK_BYTES // max(1, self.row_bytes))
        chunks = getattr(self.array, "chunks", None) or (1,)
        if isinstance(chunks[0], int):  # Dask's are tuples
            step = max(chunks[0], step // chunks[0] * chunks[0])
        for start in range(0, self.n, step):
            yield slice(start, min(start + step, self.n))


def _two_features(X: Array, reducer: Any) -> Array:
    """Return rows of one feature, as the output of a regression, with a second one of zeros.

    It changes no distance, and PCA and its like have no second axis otherwise. UMAP needs none.
    """
    if X.shape[1] > 1 or isinstance(reducer, UMAP):
        return X
    return np.hstack([X, np.zeros_like(X)])


def _inside(rows: Array, block: slice) -> Array:
    """Return those of the ascending rows that are in a block, counted from its start."""
    first, last = np.searchsorted(rows, [block.start, block.stop])
    inside: Array = rows[first:last] - block.start
    return inside


def _engine_of(reducer: Any) -> tuple[str, str]:
    """Return the engine of a fitted reducer and the reason for it."""
    return (
        getattr(reducer, "engine_", type(reducer).__name__),
        getattr(reducer, "engine_reason_", "the reducer that was asked for"),
    )


def _pass_neighbors(reducer: UMAP, indices: Array, distances: Array) -> None:
    """Pass UMAP the neighbours that are known already, if they are the ones that it would search."""
    n, k = indices.shape
    if reducer.precomputed_knn is None and reducer.metric == "euclidean" and reducer.n_neighbors <= k + 1:
        itself = np.arange(n)[:, None]  # UMAP counts each point as its own first neighbour
        reducer.precomputed_knn = np.hstack([itself, indices]), np.hstack([np.zeros((n, 1), np.float32), distances])


def layer_rows(name: str, activations: Any, first: int = 0) -> Array:
    """Return a layer's rows as (n_samples, n_features) float32 on the CPU; refuse NaN and infinity by the layer's name.

    `first` is the number of the first row, for the message, where a block of the layer is passed.
    """
    if isinstance(activations, CheckedRows):
        return activations.values
    values = activations if isinstance(activations, torch.Tensor) else np.asarray(activations)
    if values.ndim == 1:  # a layer may have one number for a sample
        values = values[:, None]
    return as_numpy(as_rows(values, f"layer {name!r}", first=first)).astype(np.float32, copy=False)
