"""UMAP as a scikit-learn estimator; an engine computes it (`engines.py`)."""

from __future__ import annotations

import warnings
from typing import Any, Literal

import numpy as np
import torch
from sklearn.base import BaseEstimator, ClassNamePrefixFeaturesOutMixin, TransformerMixin
from sklearn.utils.validation import check_is_fitted

from torchviz_layers._common.arrays import Array, as_numpy, as_rows
from torchviz_layers._common.devices import resolve_device
from torchviz_layers.exceptions import DataError, NonFiniteError, ReducerError
from torchviz_layers.neighbors import knn
from torchviz_layers.neighbors.search import METRICS
from torchviz_layers.reducers.checks import check_init, check_options, lost_rows, read_names, seed_of, without_self
from torchviz_layers.reducers.engines import Engine, EngineName, compute
from torchviz_layers.reducers.problem import Callback, Problem, fit_curve


class UMAP(ClassNamePrefixFeaturesOutMixin, TransformerMixin, BaseEstimator):  # type: ignore[misc] # sklearn is untyped
    """Uniform manifold approximation and projection: fast, seeded and parallel, on the CPU and on CUDA.

    Parameters
    ----------
    n_components
        Dimensions of the map.
    n_neighbors
        Size of the neighbourhood that is kept together, the point itself included, as in umap-learn. Cut to the number
        of samples, with a warning.
    min_dist, spread
        The smallest distance between points in the map, and the scale of the map.
    metric
        `euclidean`, `manhattan`, `cosine`, `correlation`, or any metric of umap-learn, which then computes the map.
    n_epochs
        Steps of the optimization. None: 500, and 300 above 20,000 samples; cuML and umap-learn have their own defaults.
    init
        Initial positions: `diffusion` (principal components, diffused along the neighbour graph), `pca`, `random`,
        `spectral` (umap-learn's) or an array (n_samples, n_components). Where the engine searches neighbours itself
        (cuml above 100,000 samples, umap-learn for sparse rows and for its own metrics) `diffusion` is `pca`.
    random_state
        Seed: the same seed gives the same bytes on one machine, for any number of threads (engine `numba`). None: a
        seed is drawn.
    precomputed_knn
        (indices, distances) of shape (n_samples, >= n_neighbors) with the point itself first (umap-learn's
        convention), or (n_samples, >= n_neighbors - 1) without it (`torchviz_layers.neighbors.knn`'s).
    device
        `auto` (a tensor's own card, else CUDA if there is a card), `cpu` or `cuda`.
    engine
        `auto`, `cuml`, `torch`, `numba`, `umap-learn`, or an object with `fit(problem)` (see `engines.Engine`). On
        CUDA `auto` is cuml without a seed, and torch with one or where cuml fails; on the CPU it is numba. What these
        do not cover is left to umap-learn.
    engine_kwargs
        More parameters of the library that an engine calls (cuml, umap-learn).
    nonfinite
        `raise`, or `drop`: rows with NaN or infinity are left out of the fit, and are NaN in the map.
    keep_data
        Pickle the training data too, so that the copy can `transform` new rows.
    callback
        Called with (epochs done, n_epochs, positions) about ten times a second; returning True stops.
    verbose
        Show a progress bar if the optimization takes more than two seconds.

    Attributes
    ----------
    embedding_ : ndarray of shape (n_samples, n_components), float32
        NaN, with a warning, in rows without a neighbour: under jaccard, say, those that share nothing with any other.
    engine_, engine_reason_ : str
        The engine that ran, and a sentence that says why.
    seed_ : int
        The seed that was used.
    n_features_in_ : int
    feature_names_in_ : ndarray of str, shape (n_features,)
        The columns' names, if X was a table that has them.

    Examples
    --------
    >>> import numpy as np
    >>> X = np.random.default_rng(0).normal(size=(60, 5))
    >>> UMAP(n_neighbors=10, random_state=0, device="cpu").fit_transform(X).shape
    (60, 2)
    """

    def __init__(
        self,
        n_components: int = 2,
        n_neighbors: int = 15,
        min_dist: float = 0.1,
        *,
        spread: float = 1.0,
        metric: Any = "euclidean",
        n_epochs: int | None = None,
        init: str | Array = "diffusion",
        random_state: int | np.random.RandomState | np.random.Generator | None = None,
        precomputed_knn: tuple[Any, ...] | None = None,
        device: str | torch.device = "auto",
        engine: EngineName | Engine = "auto",
        engine_kwargs: dict[str, Any] | None = None,
        nonfinite: Literal["raise", "drop"] = "raise",
        keep_data: bool = False,
        callback: Callback | None = None,
        verbose: bool = False,
    ) -> None:
        self.n_components = n_components
        self.n_neighbors = n_neighbors
        self.min_dist = min_dist
        self.spread = spread
        self.metric = metric
        self.n_epochs = n_epochs
        self.init = init
        self.random_state = random_state
        self.precomputed_knn = precomputed_knn
        self.device = device
        self.engine = engine
        self.engine_kwargs = engine_kwargs
        self.nonfinite = nonfinite
        self.keep_data = keep_data
        self.callback = callback
        self.verbose = verbose

    def fit(self, X: Any, y: Any = None) -> UMAP:
        """Compute `embedding_` of X (n_samples, n_features).

        `y` is used by umap-learn only: ``engine_kwargs={"target_metric": "categorical"}``.
        """
        check_options(self.get_params(deep=False))
        read_names(self, X, reset=True)
        points, finite = self._points(X)
        problem = self._problem(points, y)
        if points.shape[0] == 1:
            Z, model = np.zeros((1, self.n_components), np.float32), None
            self.engine_, self.engine_reason_ = "none", "a single sample needs no engine"
        else:
            (self.engine_, self.engine_reason_), Z, model = compute(self.engine, problem)
        lost = lost_rows(Z, self.metric)
        if lost:
            self.engine_reason_ += f"; {lost}"
        self.embedding_ = Z
        if finite is not None:
            self.embedding_ = np.full((len(finite), self.n_components), np.nan, np.float32)
            self.embedding_[finite] = Z
        self.seed_ = problem.seed
        self.n_features_in_ = int(points.shape[1])
        # What `transform` needs.
        self._training: Any = points
        self._finite = finite
        self._model = model if _is_sparse(points) or self.metric not in METRICS else None
        return self

    def fit_transform(self, X: Any, y: Any = None) -> Array:
        """Fit X and return its map, (n_samples, n_components) float32."""
        embedding: Array = self.fit(X, y).embedding_
        return embedding

    def transform(self, X: Any) -> Array:
        """Embed new rows among the fitted ones, (n_samples, n_components) float32.

        A row's position does not depend on the other rows that are passed, so that data larger than memory can be
        transformed in parts.

        Raises
        ------
        ReducerError
            If this is a copy from a pickle, which has no training data unless `keep_data` is set.
        DataError
            If X has other columns than the fitted rows.
        """
        check_is_fitted(self)
        read_names(self, X, reset=False)
        if self._training is None:
            raise ReducerError(
                "this UMAP was pickled without its training data; fit with keep_data=True to transform in copies"
            )
        if self._model is not None:
            new: Array = np.asarray(self._model.transform(self._points(X)[0]), np.float32)
            lost_rows(new, self.metric)
            return new
        points = as_rows(X)
        if points.shape[1] != self.n_features_in_:
            raise DataError(
                f"X has {points.shape[1]} features, but UMAP is expecting {self.n_features_in_} features as input"
            )
        Z = self.embedding_ if self._finite is None else self.embedding_[self._finite]
        if len(Z) == 1:
            return np.repeat(Z, len(points), axis=0)
        from torchviz_layers.reducers.transform import transform_rows

        found = knn(
            self._training,
            min(self.n_neighbors, len(Z)),
            queries=points,
            metric=self.metric,
            device=self.device,
            method="exact",  # so that a row's neighbours do not depend on its batch
        )
        return transform_rows(*found, Z, fit_curve(self.spread, self.min_dist), self.seed_)

    def __getstate__(self) -> dict[str, Any]:
        state: dict[str, Any] = super().__getstate__()
        if not self.keep_data and "_training" in state:
            state = state | {"_training": None, "_model": None}
        return state

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.input_tags.sparse = True
        tags.transformer_tags.preserves_dtype = ["float32"]
        return tags

    @property
    def _n_features_out(self) -> int:
        return self.n_components

    def _points(self, X: Any) -> tuple[Any, Array | None]:
        """Return finite rows, and a mask (n,) of the rows of X that are kept; None in its place if all are."""
        if _is_sparse(X):
            if X.shape[0] == 0 or X.shape[1] == 0:
                raise DataError(f"X is empty: its shape is {X.shape}")
            from scipy.sparse import csr_matrix

            X = csr_matrix(X)  # not csr_array, which umap-learn cannot read
            if not np.isfinite(X.data).all():
                raise NonFiniteError("X holds NaN or infinity among its stored values")
            return X, None
        if self.nonfinite == "raise":
            return as_rows(X), None
        rows = as_rows(X, finite=False)
        finite = torch.isfinite(torch.as_tensor(rows)).all(dim=1)
        if bool(finite.all()):
            return rows, None
        if not bool(finite.any()):
            raise NonFiniteError(f"X holds NaN or infinity in every one of its {len(rows)} rows")
        keep = finite.cpu().numpy()
        return rows[finite] if isinstance(rows, torch.Tensor) else rows[keep], keep

    def _problem(self, points: Any, y: Any) -> Problem:
        n = int(points.shape[0])
        n_neighbors = int(self.n_neighbors)
        if n_neighbors > n > 1:
            warnings.warn(f"n_neighbors={n_neighbors} is cut to the number of samples, {n}", UserWarning, stacklevel=3)
            n_neighbors = n
        seed, seeded = seed_of(self.random_state)
        device = resolve_device(self.device, points)
        if device.type == "cpu" and not _is_sparse(points):
            points = as_numpy(points)
        given = self.precomputed_knn
        return Problem(
            X=points,
            n_components=int(self.n_components),
            n_neighbors=n_neighbors,
            min_dist=float(self.min_dist),
            spread=float(self.spread),
            metric=self.metric,
            n_epochs=None if self.n_epochs is None else int(self.n_epochs),
            init=check_init(self.init, (n, int(self.n_components))),
            seed=seed,
            seeded=seeded,
            device=device,
            neighbors=None if given is None or n == 1 else without_self(given, n, n_neighbors),
            callback=self.callback,
            verbose=self.verbose,
            y=y,
            options=dict(self.engine_kwargs or {}),
        )


def _is_sparse(X: Any) -> bool:
    """Return whether X is a scipy sparse matrix or array, without importing scipy for it."""
    return hasattr(X, "tocsr")
