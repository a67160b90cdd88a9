"""Every error that this library raises on purpose.

::

    TorchvizLayersError
    ├── DataError            a dataset, folder or array that cannot be used (also a ValueError)
    │   └── MissingDatasetError     a known dataset that is not on this disk
    ├── ModelError           a model specification that leads nowhere, an input that does not fit the model
    ├── ConversionError      a file that cannot become a PyTorch module
    │   └── UnsupportedLayerError   the file is sound, but layers in it hold code or are unknown
    ├── CaptureError         a forward pass that cannot be captured as asked
    │   └── UnknownLayerError       a layer name that matches nothing, or too much (also a KeyError)
    ├── StoreError           stored activations that cannot be read, written or resumed
    ├── ReducerError         an embedding that cannot be computed as asked
    │   └── NonFiniteError          NaN or infinity among the rows (also a ValueError)
    ├── PageError            a page that cannot be built, written or served
    └── MissingDependencyError      an optional library is not installed (also an ImportError)
"""

from __future__ import annotations


class TorchvizLayersError(Exception):
    """Base of all errors raised on purpose; the message says what was wrong and what to do."""


class DataError(TorchvizLayersError, ValueError):
    """A dataset, folder or array that cannot be used."""


class MissingDatasetError(DataError):
    """A known dataset that is not on this disk."""


class ModelError(TorchvizLayersError):
    """A model specification that leads nowhere, or an input that does not fit the model."""


class ConversionError(TorchvizLayersError):
    """A file that cannot become a PyTorch module."""


class UnsupportedLayerError(ConversionError):
    """The file is sound, but holds layers that are code or that no rule is known for."""


class CaptureError(TorchvizLayersError):
    """A forward pass that cannot be captured as asked."""


class UnknownLayerError(CaptureError, KeyError):
    """A layer name that matches nothing, or more than one thing."""

    def __str__(self) -> str:
        """Return the plain message: KeyError would show its repr."""
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
    """An optional library is not installed; the message is the pip line that brings it."""

    def __init__(self, library: str, extra: str, purpose: str) -> None:
        super().__init__(f"{purpose} needs {library}: pip install 'torchviz-layers[{extra}]'")
        self.library, self.extra, self.purpose = library, extra, purpose

    def __reduce__(self) -> tuple[type[MissingDependencyError], tuple[str, str, str]]:
        """Pickle by the three parts, so that the error crosses a process border."""
        return type(self), (self.library, self.extra, self.purpose)
