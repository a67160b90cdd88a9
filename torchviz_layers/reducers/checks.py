"""Checks of a reducer's parameters; each error names the value and what is allowed."""

from __future__ import annotations

import inspect
import warnings
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from numbers import Real
from typing import Any

import numpy as np

from torchviz_layers._common.arrays import Array
from torchviz_layers._common.devices import is_out_of_memory
from torchviz_layers.exceptions import DataError, ReducerError, TorchvizLayersError
from torchviz_layers.neighbors.search import METRICS

INITS = ("diffusion", "pca", "random", "spectral")


def check_names(names: Iterable[str], takes: Callable[..., Any], whose: str) -> None:
    """Check that a class or function has parameters of these names.

    A class that passes `**kwargs` on has its bases' parameters too. Nothing is checked for a class that names none at
    all, or is compiled and has no signature.

    Raises
    ------
    ReducerError
        For a name that it does not have; the message lists those that it has.
    """
    known = _options_of(takes)
    for name in names if known else ():
        if name not in known:
            raise ReducerError(f"{whose} has no option {name!r}; it has {', '.join(known)}")


@contextmanager
def naming(what: str, options: Mapping[str, Any]) -> Iterator[None]:
    """Turn an error of a library into one that names the options that were passed."""
    try:
        yield
    except TorchvizLayersError:
        raise
    except (TypeError, ValueError, LookupError, ArithmeticError, AssertionError, RuntimeError) as error:
        if is_out_of_memory(error):
            raise  # another engine computes instead
        asked = ", ".join(f"{name}={value!r}" for name, value in options.items())
        why = f"{type(error).__name__}: {error}" if str(error) else type(error).__name__
        raise ReducerError(f"{what} fails with {asked or 'its defaults'}: {why}") from error


def _options_of(takes: Callable[..., Any]) -> list[str]:
    own = [takes]
    if isinstance(takes, type):
        own = [vars(base)["__init__"] for base in takes.__mro__[:-1] if "__init__" in vars(base)]
    known: dict[str, None] = {}
    for depth, function in enumerate(own):
        try:
            parameters = list(inspect.signature(function).parameters.values())
        except ValueError:  # compiled, without a signature
            return []
        # A base's required parameters are passed by the class that derives from it.
        optional = [p for p in parameters if p.name != "self" and (depth == 0 or p.default is not p.empty)]
        known |= dict.fromkeys(p.name for p in optional if p.kind in (p.POSITIONAL_OR_KEYWORD, p.KEYWORD_ONLY))
        if all(p.kind != p.VAR_KEYWORD for p in parameters):
            break
    return list(known)


def check_options(options: dict[str, Any]) -> None:
    """Check UMAP's parameters that are numbers, names or switches.

    Raises
    ------
    ReducerError
        For a value out of range or of the wrong type; the message names the parameter, the value and what is allowed.
    """
    for name, least in (("n_components", 1), ("n_neighbors", 2), ("n_epochs", 1)):
        value = options[name]
        if not (is_whole(value) and value >= least) and not (name == "n_epochs" and value is None):
            rest = ", or None" if name == "n_epochs" else ""
            raise ReducerError(f"{name}={value!r}: it must be a whole number of at least {least}{rest}")
    spread, min_dist = options["spread"], options["min_dist"]
    if not is_number(spread) or not 0.0 < spread < np.inf:
        raise ReducerError(f"spread={spread!r}: it must be a number above 0")
    if not is_number(min_dist) or not 0.0 <= min_dist <= spread:
        raise ReducerError(f"min_dist={min_dist!r}: it must be a number from 0 to spread={spread!r}")
    _check_switches(options)
    check_metric(options["metric"])


def _check_switches(options: dict[str, Any]) -> None:
    if options["nonfinite"] not in ("raise", "drop"):
        raise ReducerError(f"nonfinite: {options['nonfinite']!r} is neither 'raise' nor 'drop'")
    for name in ("keep_data", "verbose"):
        if not isinstance(options[name], bool | np.bool_ | int | np.integer):
            raise ReducerError(f"{name}={options[name]!r}: it must be True or False")
    if options["callback"] is not None and not callable(options["callback"]):
        raise ReducerError(f"callback={options['callback']!r}: it must be a function, or None")
    given = options["engine_kwargs"]
    if given is not None and not (isinstance(given, dict) and all(isinstance(name, str) for name in given)):
        raise ReducerError(f"engine_kwargs={given!r}: it must be a dict of parameters by name, or None")


def is_whole(value: Any) -> bool:
    """Return whether a value is an integer; True and False are not."""
    return isinstance(value, int | np.integer) and not isinstance(value, bool)


def is_number(value: Any) -> bool:
    """Return whether a value is a real number; True and False are not."""
    return isinstance(value, Real) and not isinstance(value, bool)


def check_metric(metric: Any) -> None:
    """Check that a metric is ours, umap-learn's or a function; umap-learn is only imported where it is not ours.

    Raises
    ------
    ReducerError
        For another one; the message lists the choices.
    """
    if callable(metric) or (isinstance(metric, str) and metric in METRICS):
        return
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # that TensorFlow is missing
        from pynndescent.distances import named_distances as pynndescents
        from umap.distances import named_distances
    others = sorted(({*named_distances, *pynndescents}) - {*METRICS})
    if not isinstance(metric, str) or metric not in others:
        way_out = "; pass such neighbours as precomputed_knn" if metric == "precomputed" else ""
        raise ReducerError(
            f"metric={metric!r}: it must be one of {', '.join(METRICS)}, a compiled function, or one of umap-learn's: "
            f"{', '.join(others)}{way_out}"
        )


def check_init(init: Any, shape: tuple[int, int]) -> str | Array:
    """Return UMAP's `init`: one of the names, or finite numbers of the map's shape.

    Raises
    ------
    ReducerError
        For another name, or an array that does not fit.
    """
    if isinstance(init, str):
        if init not in INITS:
            raise ReducerError(f"init: {init!r} is none of {', '.join(INITS)}, or an array {shape}")
        return init
    try:
        start = np.asarray(init, np.float64)
    except (TypeError, ValueError) as error:
        raise ReducerError(f"init: {type(init).__name__} is neither a name nor an array of numbers {shape}") from error
    if start.ndim == 0:
        raise ReducerError(f"init={init!r}: it must be one of {', '.join(INITS)}, or an array {shape}")
    if start.shape != shape:
        raise ReducerError(f"init: an array of shape {start.shape}; finite numbers of shape {shape} are needed")
    if not np.isfinite(start).all():
        bad = int((~np.isfinite(start).all(axis=1)).sum())
        raise ReducerError(f"init holds NaN or infinity in {bad} of {len(start)} rows; finite numbers are needed")
    return start


def read_names(estimator: Any, X: Any, *, reset: bool) -> None:
    """Keep the names of a table's columns as `feature_names_in_`; without `reset` compare X's with those that are kept.

    Raises
    ------
    DataError
        Where the names or their order differ.
    """
    from sklearn.utils.validation import validate_data

    try:
        validate_data(estimator, X, reset=reset, skip_check_array=True, ensure_2d=False)
    except ValueError as error:
        raise DataError(str(error)) from error


def seed_of(random_state: Any) -> tuple[int, bool]:
    """Return a seed in 32 bits, and whether the caller gave it; without one it is drawn."""
    if random_state is None:
        return int(np.random.default_rng().integers(2**32)), False
    if isinstance(random_state, np.random.Generator):
        return int(random_state.integers(2**32)), True
    if isinstance(random_state, np.random.RandomState):
        return int(random_state.randint(2**32, dtype=np.uint32)), True
    if is_whole(random_state) and 0 <= random_state < 2**32:
        return int(random_state), True
    raise ReducerError(
        f"random_state={random_state!r}: it must be None, a whole number from 0 to {2**32 - 1}, or NumPy's generator"
    )


def without_self(given: Any, n: int, n_neighbors: int) -> tuple[Array, Array]:
    """Check a precomputed neighbour graph and bring it to `knn`'s convention: the point itself is not listed.

    Two conventions are accepted: umap-learn's, where every row lists the point itself first (a duplicate may be
    listed before it), and `torchviz_layers.neighbors.knn`'s, where it does not.
    """
    said = "precomputed_knn must be (indices, distances), both of shape (n_samples, at least n_neighbors)"
    if not isinstance(given, tuple | list) or len(given) < 2:
        raise ReducerError(f"{said}; it is {type(given).__name__!r}")
    indices, distances = np.asarray(given[0]), np.asarray(given[1])
    if indices.ndim != 2 or indices.shape != distances.shape or len(indices) != n:
        raise ReducerError(f"{said}; their shapes are {indices.shape} and {distances.shape} for {n} samples")
    if indices.dtype.kind not in "iu" or indices.min() < 0 or indices.max() >= n:
        raise ReducerError(f"{said}; indices must be integers from 0 to {n - 1}, without a -1 for neighbours not found")
    if distances.dtype.kind not in "iuf" or not np.isfinite(distances).all() or distances.min() < 0:
        raise ReducerError(f"{said}; distances must be finite numbers and not negative")
    own = indices == np.arange(n)[:, None]
    if own.any():
        column = np.where(own.any(axis=1), own.argmax(axis=1), 0)
        keep = np.arange(indices.shape[1]) != column[:, None]
        indices, distances = indices[keep].reshape(n, -1), distances[keep].reshape(n, -1)
    wanted = n_neighbors - 1
    if indices.shape[1] < wanted:
        raise ReducerError(
            f"precomputed_knn lists {indices.shape[1]} other points a row, n_neighbors={n_neighbors} needs {wanted}"
        )
    return np.ascontiguousarray(indices[:, :wanted], np.int64), np.ascontiguousarray(distances[:, :wanted], np.float32)


def with_self(indices: Array, distances: Array) -> tuple[Array, Array]:
    """Bring a neighbour graph to the convention of umap-learn and cuML: every row lists the point itself first."""
    n = len(indices)
    return (
        np.hstack([np.arange(n)[:, None], indices]),
        np.hstack([np.zeros((n, 1), np.float32), distances.astype(np.float32)]),
    )


def lost_rows(Z: Any, metric: Any) -> str:
    """Return a sentence on rows of a map that are NaN, empty without any, and warn of them.

    For bounded metrics (jaccard, dice, cosine, ...) umap-learn removes edges of the largest distance, which means
    nothing in common. A row without any edge is NaN in its map.
    """
    lost = int(np.count_nonzero(~np.isfinite(Z).all(axis=1)))
    if not lost:
        return ""
    rows = "1 row has" if lost == 1 else f"{lost:,} rows have"
    sentence = f"{rows} no neighbour under metric {metric!r} and {'is' if lost == 1 else 'are'} NaN in the map"
    warnings.warn(f"{sentence}, of {len(Z):,}", UserWarning, stacklevel=3)
    return sentence
