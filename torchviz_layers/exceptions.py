"""The errors that this library raises.

::

    TorchvizLayersError
    ├── DataError            a dataset, folder or array that cannot be used (also a ValueError)
    │   └── MissingDatasetError     a known dataset that is not on this disk
    ├── ModelError           a model that is not found, an input that does not fit the model
    ├── ConversionError      a file that cannot become a PyTorch module
    │   └── UnsupportedLayerError   a sound file with layers that contain code or are unknown
    ├── CaptureError         a forward pass that cannot be captured as asked
    │   └── UnknownLayerError       a layer name that matches none, or several (also a KeyError)
    ├── StoreError           stored activations that cannot be read, written or resumed
    ├── ReducerError         an embedding that cannot be computed as asked
    │   └── NonFiniteError          NaN or infinity among the rows (also a ValueError)
    ├── PageError            a page that cannot be built, written or served
    └── MissingDependencyError      an optional library is not installed (also an ImportError)
"""

from __future__ import annotations


class TorchvizLayersError(Exception):
    """Base of all errors of this library; the message says what was wrong and what to do."""


class DataError(TorchvizLayersError, ValueError):
    """A dataset, folder or array that cannot be used."""


class MissingDatasetError(DataError):
    """A known dataset that is not on this disk."""


class ModelError(TorchvizLayersError):
    """A model that is not found, or an input that does not fit the model."""


class ConversionError(TorchvizLayersError):
    """A file that cannot become a PyTorch module."""


class UnsupportedLayerError(ConversionError):
    """A sound file with layers that contain code or that no conversion rule is known for."""


class CaptureError(TorchvizLayersError):
    """A forward pass that cannot be captured as asked."""


class UnknownLayerError(CaptureError, KeyError):
    """A layer name that matches no layer, or several where one is needed."""

    def __str__(self) -> str:
        """Return the plain message; `KeyError` would return its repr."""
        return str(self.args[0]) if self.args else ""


class StoreError(TorchvizLayersError):
    """Stored activations that cannot be read, written or resumed."""


class ReducerError(TorchvizLayersError):
    """An embedding that cannot be computed as asked."""


class NonFiniteError(ReducerError, ValueError):
    """NaN or infinity among the rows; the message names them."""


class PageError(TorchvizLayersError):
    """A page that cannot be built, written or served."""


class MissingDependencyError(TorchvizLayersError, ImportError):
    """An optional library is not installed; the message is the pip command that installs it."""

    def __init__(self, library: str, extra: str, purpose: str) -> None:
        super().__init__(f"{purpose} needs {library}: pip install 'torchviz-layers[{extra}]'")
        self.library, self.extra, self.purpose = library, extra, purpose

    def __reduce__(self) -> tuple[type[MissingDependencyError], tuple[str, str, str]]:
        """Pickle the three arguments, so that the error can be sent to another process."""
        return type(self), (self.library, self.extra, self.purpose)
