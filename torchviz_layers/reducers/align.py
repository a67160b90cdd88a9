"""Align one map with another of the same samples, so that a reader can follow a class from layer to layer."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from torchviz_layers._common.arrays import Array
from torchviz_layers.exceptions import ReducerError


def align(Z: Array, reference: Array) -> Array:
    """Rotate or reflect Z and shift it, so that it is as near as possible to `reference`; scale and shape stay.

    Parameters
    ----------
    Z, reference
        Maps of shape (n, n_components) of the same samples in the same order. Rows that hold NaN in either (dropped
        samples) are left out of the fit.

    Returns
    -------
    The aligned map, (n, n_components), of Z's dtype.

    Raises
    ------
    ReducerError
        Where the shapes differ.

    Notes
    -----
    Orthogonal Procrustes, P. H. Schönemann, Psychometrika 31 (1966).

    Examples
    --------
    >>> import numpy as np
    >>> Z = np.array([[0.0, 0.0], [2.0, 0.0], [2.0, 1.0]])
    >>> turned = Z @ np.array([[0.0, 1.0], [-1.0, 0.0]]) + 5
    >>> bool(np.allclose(align(turned, Z), Z))
    True
    """
    return alignment(Z, reference)(Z)


def alignment(Z: Array, reference: Array) -> Callable[[Array], Array]:
    """Return what `align` does to Z as a function, for further rows of the same map (n, n_components)."""
    Z, reference = np.asarray(Z), np.asarray(reference)
    if Z.shape != reference.shape or Z.ndim != 2:
        raise ReducerError(
            f"align: the maps have shapes {Z.shape} and {reference.shape}; both must be the same (n, n_components)"
        )
    known = np.isfinite(Z).all(axis=1) & np.isfinite(reference).all(axis=1)
    if not known.any():
        return lambda rows: np.array(rows)
    moving, fixed = Z[known].astype(np.float64), reference[known].astype(np.float64)
    middle, target = moving.mean(axis=0), fixed.mean(axis=0)
    # Procrustes: of all orthogonal R, U V^T minimises |A R - B| where A^T B = U S V^T.
    # einsum, not a matrix product: BLAS may sum in another order for another number of threads
    u, _, vt = np.linalg.svd(np.einsum("ni,nj->ij", moving - middle, fixed - target))
    rotation = u @ vt
    return lambda rows: ((np.asarray(rows) - middle) @ rotation + target).astype(np.asarray(rows).dtype)
