"""Reducers of other libraries: openTSNE, PaCMAP, TorchDR, and cuML's t-SNE."""

from __future__ import annotations

import importlib
from typing import Any

import numpy as np
import torch

from torchviz_layers._common.arrays import Array, as_numpy, as_rows
from torchviz_layers._common.devices import resolve_device
from torchviz_layers.exceptions import MissingDependencyError
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
    """Another library's reducer: its options are checked by name, errors name them, the map is float32.

    Parameters
    ----------
    name
        What `make_reducer` calls it.
    module, kind
        The class, `pacmap` and `PaCMAP` say.
    params
        The class's own.
    fixed
        Parameters that the caller cannot change.

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
        """Embed X (n_samples, n_features), (n_samples, n_components) float32.

        Raises
        ------
        ReducerError
            If the library fails; the message contains the library's own and the options that were passed.
        """
        points = as_rows(X)
        with naming(f"reducer {self.name!r}", self.params):
            self.estimator_ = self._kind(**self.params, **self._fixed)
            lay_out = getattr(self.estimator_, "fit_transform", self.estimator_.fit)  # openTSNE's fit returns the map
            Z = lay_out(points if self._module in _TAKE_TENSORS else as_numpy(points))
        return np.asarray(as_numpy(Z), np.float32)
