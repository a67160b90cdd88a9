"""Reducers of other libraries: openTSNE, PaCMAP, TorchDR, and cuML's t-SNE."""

from __future__ import annotations

import importlib
from typing import Any

import numpy as np
import torch

from torchviz_layers._common.arrays import Array
from torchviz_layers.exceptions import MissingDependencyError
from torchviz_layers.neighbors.search import as_points, resolve_device, to_numpy
from torchviz_layers.reducers.checks import check_names, naming
from torchviz_layers.reducers.engines import has_cuml

_LIBRARIES = {"openTSNE": "openTSNE", "pacmap": "PaCMAP", "torchdr": "TorchDR"}
_TAKE_TENSORS = ("torchdr", "cuml.manifold")  # a CUDA tensor stays on its card


def tsne(*, device: str | torch.device = "auto", **params: Any) -> LibraryReducer:
    """Return t-SNE: cuML's on a CUDA card that has it, else openTSNE's."""
    if resolve_device(device).type == "cuda" and has_cuml():
        return LibraryReducer("tsne", "cuml.manifold", "TSNE", params, output_type="numpy")
    return LibraryReducer("tsne", "openTSNE", "TSNE", params)


class LibraryReducer:
    """Another library's reducer: options known by name, errors that name what was asked, a map in float32.

    Parameters
    ----------
    name
        What `make_reducer` calls it.
    module, kind
        The class, `pacmap` and `PaCMAP` say.
    params
        The class's own.
    fixed
        Further ones that the caller has no say in.

    Attributes
    ----------
    estimator_
        The library's own object, once fitted.

    Raises
    ------
    MissingDependencyError
        Where the library is not installed.
    ReducerError
        For an option that the class does not have.
    """

    def __init__(self, name: str, module: str, kind: str, params: dict[str, Any], **fixed: Any) -> None:
        library = _LIBRARIES.get(module, module)
        try:
            self._kind = getattr(importlib.import_module(module), kind)
        except ImportError as error:
            raise MissingDependencyError(library, "reducers", f"the reducer {name!r}") from error
        check_names(params, self._kind, f"reducer {name!r}")
        self.name, self.params = name, params
        self._module, self._fixed = module, fixed
        self.engine_, self.engine_reason_ = library, f"the reducer {name!r} was asked for"

    def __repr__(self) -> str:
        asked = ", ".join(f"{option}={value!r}" for option, value in self.params.items())
        return f"{self._module}.{self._kind.__name__}({asked})"

    def fit_transform(self, X: Any) -> Array:
        """Lay X (n_samples, n_features) out, (n_samples, n_components) float32.

        Raises
        ------
        ReducerError
            Where the library fails; the message holds its own and the options that were given.
        """
        points = as_points(X)
        with naming(f"reducer {self.name!r}", self.params):
            self.estimator_ = self._kind(**self.params, **self._fixed)
            lay_out = getattr(self.estimator_, "fit_transform", self.estimator_.fit)  # openTSNE's fit returns the map
            Z = lay_out(points if self._module in _TAKE_TENSORS else to_numpy(points))
        return np.asarray(to_numpy(Z), np.float32)
