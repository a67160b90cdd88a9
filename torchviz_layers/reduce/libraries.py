"""Reducers of other libraries where one name stands for two of them: t-SNE."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch

from torchviz_layers.exceptions import MissingDependencyError
from torchviz_layers.neighbors import as_points, resolve_device
from torchviz_layers.reduce.engines import has_cuml

Array = np.ndarray[Any, np.dtype[Any]]


def tsne(*, device: str | torch.device = "auto", **params: Any) -> Any:
    """Return t-SNE: cuML's on a CUDA card that has it, else openTSNE's."""
    if resolve_device(device).type == "cuda" and has_cuml():
        from cuml.manifold import TSNE

        return TSNE(output_type="numpy", **params)
    return OpenTSNE(**params)


class OpenTSNE:
    """openTSNE with scikit-learn's `fit_transform`.

    Parameters
    ----------
    params
        openTSNE's own (`perplexity`, `random_state`, `n_jobs`, ...).
    """

    def __init__(self, **params: Any) -> None:
        try:
            import openTSNE
        except ImportError as error:
            raise MissingDependencyError("openTSNE", "reducers", "the reducer 'tsne' on the CPU") from error
        self._tsne = openTSNE.TSNE(**params)

    def fit_transform(self, X: Any) -> Array:
        """Lay X (n_samples, n_features) out, (n_samples, n_components) float32."""
        return np.asarray(self._tsne.fit(np.asarray(as_points(X))), dtype=np.float32)
