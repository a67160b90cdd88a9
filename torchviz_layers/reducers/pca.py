"""Principal components with torch: the quick, linear map beside UMAP."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from sklearn.base import BaseEstimator, ClassNamePrefixFeaturesOutMixin, TransformerMixin
from sklearn.utils.validation import check_is_fitted

from torchviz_layers._common.arrays import Array, as_rows
from torchviz_layers._common.devices import resolve_device
from torchviz_layers.exceptions import DataError, ReducerError
from torchviz_layers.reducers.checks import is_whole, read_names


class PCA(ClassNamePrefixFeaturesOutMixin, TransformerMixin, BaseEstimator):  # type: ignore[misc] # sklearn is untyped
    """Principal component analysis by the eigenvectors of the covariance in float64.

    Parameters
    ----------
    n_components
        Components to keep; at most the number of features.
    device
        `auto`, `cpu` or `cuda`.
    random_state
        Ignored: nothing here is random. It is accepted so that every reducer takes a seed.

    Attributes
    ----------
    components_ : ndarray of shape (n_components, n_features)
        Principal axes, the largest entry of each positive.
    explained_variance_ratio_ : ndarray of shape (n_components,)
    mean_ : ndarray of shape (n_features,)
    embedding_ : ndarray of shape (n_samples, n_components)
        The fitted rows, float32.
    engine_, engine_reason_ : str
        What computed it, and why.
    feature_names_in_ : ndarray of str, shape (n_features,)
        The columns' names, if X was a table that has them.
    """

    def __init__(self, n_components: int = 2, *, device: str = "auto", random_state: Any = None) -> None:
        self.n_components = n_components
        self.device = device
        self.random_state = random_state

    def fit(self, X: Any, y: Any = None) -> PCA:  # noqa: ARG002 - scikit-learn's signature
        """Find the axes; X of shape (n_samples, n_features)."""
        read_names(self, X, reset=True)
        where = resolve_device(self.device, X)
        rows = torch.as_tensor(as_rows(X), device=where).double()
        most = rows.shape[1]
        if not is_whole(self.n_components) or not 1 <= self.n_components <= most:
            raise ReducerError(
                f"n_components={self.n_components!r}: X has {most} features, so it must be a whole number from 1 to "
                f"{most}"
            )
        mean = rows.mean(dim=0)
        centred = rows - mean
        # Of X X^T and X^T X the smaller one; an eigenvector v of the first gives the axis X^T v of the second.
        if len(rows) < most:
            values, vectors = torch.linalg.eigh(centred @ centred.T)
            order = values.argsort(descending=True)[: self.n_components]
            axes = centred.T @ vectors[:, order]
            axes = torch.linalg.qr(axes)[0] if len(order) == self.n_components else axes
            if axes.shape[1] < self.n_components:
                # Fewer samples than components: any orthonormal axes complete the basis.
                axes = torch.linalg.qr(torch.cat([axes, torch.eye(most, device=where, dtype=axes.dtype)], dim=1))[0]
            axes = axes[:, : self.n_components]
        else:
            values, vectors = torch.linalg.eigh(centred.T @ centred)
            axes = vectors.flip(1)[:, : self.n_components]
        # A sign is not determined by the data: the largest entry of each axis is positive.
        signs = torch.sign(axes.gather(0, axes.abs().argmax(dim=0, keepdim=True)))
        axes = axes * torch.where(signs == 0, 1.0, signs)
        scores = centred @ axes
        total = centred.square().sum()
        self.components_ = axes.T.cpu().numpy()
        self.explained_variance_ratio_ = (scores.square().sum(dim=0) / (total if total > 0 else 1.0)).cpu().numpy()
        self.mean_ = mean.cpu().numpy()
        self.n_features_in_ = most
        self.embedding_ = scores.float().cpu().numpy()
        self.engine_ = "torch"
        self.engine_reason_ = f"PCA is computed by PyTorch on {where.type}"
        return self

    def fit_transform(self, X: Any, y: Any = None) -> Array:
        """Fit X and return its map, (n_samples, n_components) float32."""
        embedding: Array = self.fit(X, y).embedding_
        return embedding

    def transform(self, X: Any) -> Array:
        """Project new rows, (n_samples, n_components) float32."""
        check_is_fitted(self)
        read_names(self, X, reset=False)
        rows = as_rows(X)
        if rows.shape[1] != self.n_features_in_:
            raise DataError(
                f"X has {rows.shape[1]} features, but PCA is expecting {self.n_features_in_} features as input"
            )
        rows = torch.as_tensor(rows).double().cpu().numpy()
        scores: Array = ((rows - self.mean_) @ self.components_.T).astype(np.float32)
        return scores

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.transformer_tags.preserves_dtype = ["float32"]
        return tags

    @property
    def _n_features_out(self) -> int:
        return self.n_components
