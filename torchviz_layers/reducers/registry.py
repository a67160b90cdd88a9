"""Reducers by name: the built-in ones, those of optional libraries, and those of other packages' entry points.

A package offers a reducer with an entry point of the group ``torchviz_layers.reducers``::

    [project.entry-points."torchviz_layers.reducers"]
    mymap = "mypackage:MyMap"

`make_reducer("mymap", n_components=3)` then calls ``mypackage.MyMap(n_components=3)``.
"""

from __future__ import annotations

import importlib.metadata
from collections.abc import Callable
from typing import Any, Protocol, runtime_checkable

import torch

from torchviz_layers._common.devices import resolve_device
from torchviz_layers.exceptions import ReducerError
from torchviz_layers.reducers.checks import check_names

Factory = Callable[..., Any]

ENTRY_POINTS = "torchviz_layers.reducers"


@runtime_checkable
class Reducer(Protocol):
    """What embeds rows: the estimators of scikit-learn, cuML and this package all have this method."""

    def fit_transform(self, X: Any) -> Any:
        """Embed X (n_samples, n_features): (n_samples, n_components)."""
        ...


_factories: dict[str, Factory] = {}


def register_reducer(name: str) -> Callable[[Factory], Factory]:
    """Register a factory, a class or function, under a name; a name that is taken is an error."""

    def register(factory: Factory) -> Factory:
        if name in _factories:
            raise ReducerError(f"a reducer named {name!r} is registered already")
        _factories[name] = factory
        return factory

    return register


def available_reducers() -> list[str]:
    """List the names that `make_reducer` knows, entry points included."""
    return sorted({*_factories, *(point.name for point in importlib.metadata.entry_points(group=ENTRY_POINTS))})


def make_reducer(spec: str | Reducer, **params: Any) -> Reducer:
    """Return a reducer by name, or one that exists already.

    Parameters
    ----------
    spec
        A name of `available_reducers()` (`umap`, `pca`, `tsne`, `pacmap`, `torchdr-umap`, ...), or any object with
        `fit_transform`, which is returned as it is.
    params
        Passed to the reducer's constructor; only with a name.

    Raises
    ------
    ReducerError
        For an unknown name, a parameter that the reducer does not have, or parameters with an object. Their values
        are checked by `fit`.
    MissingDependencyError
        Where the reducer's library is not installed.

    Examples
    --------
    >>> make_reducer("pca", n_components=3)
    PCA(n_components=3)
    """
    if not isinstance(spec, str):
        if not isinstance(spec, Reducer) or isinstance(spec, type):
            raise ReducerError(f"reducer: {spec!r} is neither a name nor an object with fit_transform")
        if params:
            raise ReducerError(
                f"reducer: parameters ({', '.join(params)}) go with a name, not with {type(spec).__name__}"
            )
        return spec
    if spec in _factories:
        return _built(spec, _factories[spec], params)
    for point in importlib.metadata.entry_points(group=ENTRY_POINTS, name=spec):
        return _built(spec, point.load(), params)
    raise ReducerError(f"reducer: {spec!r} is unknown; there are {', '.join(available_reducers())}")


def make_reducer_on(spec: str, device: str | torch.device, **params: Any) -> Reducer:
    """Return a reducer by name that computes on `device`, if it is one that can be given a device.

    Raises
    ------
    ReducerError, MissingDependencyError
        As `make_reducer` does, and for a device that is none.
    """
    if device == "auto":
        return make_reducer(spec, **params)
    resolve_device(device)  # an unknown device is an error, whether the reducer takes one or not
    try:
        return make_reducer(spec, device=device, **params)
    except ReducerError:
        # Not every reducer has the option. If something else is wrong, this raises the error again.
        return make_reducer(spec, **params)


def checked_reducer(reducer: Any, device: str | torch.device) -> Reducer:
    """Return a reducer that is given by name or as an object; raise `ReducerError` for what is neither."""
    if isinstance(reducer, str):
        return make_reducer_on(reducer, device)
    if isinstance(reducer, type) or not isinstance(reducer, Reducer):
        what = f"the class {reducer.__name__}" if isinstance(reducer, type) else f"a {type(reducer).__name__}"
        raise ReducerError(
            f"reducer: {what} given; a name or an object with fit_transform is expected, reducer='pca' or "
            "reducer=UMAP(random_state=0) say"
        )
    return reducer


def _built(name: str, factory: Factory, params: dict[str, Any]) -> Reducer:
    try:
        built = factory(**params)
    except TypeError as error:
        raise ReducerError(f"reducer {name!r} does not take these parameters: {error}") from error
    if not isinstance(built, Reducer):
        raise ReducerError(f"reducer {name!r}: its factory made a {type(built).__name__}, which has no fit_transform")
    return built


@register_reducer("umap")
def _umap(**params: Any) -> Any:
    from torchviz_layers.reducers.umap import UMAP

    check_names(params, UMAP, "reducer 'umap'")
    return UMAP(**params)


@register_reducer("pca")
def _pca(**params: Any) -> Any:
    from torchviz_layers.reducers.pca import PCA

    check_names(params, PCA, "reducer 'pca'")
    return PCA(**params)


@register_reducer("tsne")
def _tsne(*, device: str = "auto", **params: Any) -> Any:
    from torchviz_layers.reducers.libraries import tsne

    return tsne(device=device, **params)


@register_reducer("pacmap")
def _pacmap(**params: Any) -> Any:
    return _library("pacmap", "pacmap", "PaCMAP", params)


@register_reducer("torchdr-umap")
def _torchdr_umap(**params: Any) -> Any:
    return _library("torchdr-umap", "torchdr", "UMAP", params)


@register_reducer("torchdr-tsne")
def _torchdr_tsne(**params: Any) -> Any:
    return _library("torchdr-tsne", "torchdr", "TSNE", params)


def _library(name: str, module: str, kind: str, params: dict[str, Any]) -> Any:
    from torchviz_layers.reducers.libraries import LibraryReducer

    return LibraryReducer(name, module, kind, params)
