"""Which engine computes a UMAP, and why.

An engine is an object with a method `fit` (`Engine`). Ours are modules; `docs/extending.md` shows how to add one.
"""

from __future__ import annotations

import importlib
import importlib.util
from dataclasses import replace
from typing import Any, Literal, NamedTuple, Protocol, get_args, runtime_checkable

import numpy as np
import torch

from torchviz_layers._common.arrays import Array, as_numpy
from torchviz_layers._common.devices import as_current, is_out_of_memory
from torchviz_layers.exceptions import MissingDependencyError, ReducerError
from torchviz_layers.neighbors.search import METRICS
from torchviz_layers.reducers.problem import Problem

EngineName = Literal["auto", "cuml", "torch", "numba", "umap-learn"]


@runtime_checkable
class Engine(Protocol):
    """What computes a UMAP: `UMAP(engine=...)` takes any object with this method, and ours are modules that have it."""

    def fit(self, problem: Problem) -> tuple[Array, Any]:
        """Compute a map.

        Parameters
        ----------
        problem
            Checked rows, and options without defaults left to resolve. An engine computes on `problem.device`; it calls
            `problem.progress()` if it can report its epochs, and the same `problem.seed` gives the same map.

        Returns
        -------
        Z : ndarray of shape (n_samples, n_components), float32
        model
            An object whose `transform` embeds new rows, for metrics and sparse rows that `neighbors.knn` does not
            know; None otherwise.
        """
        ...


_MODULES = {"cuml": "cuml_engine", "torch": "torch_engine", "numba": "numba_engine", "umap-learn": "umap_learn_engine"}
CUML_LEAST = 90  # rows below which cuML fails (rapidsai/cuml#6024)


class Choice(NamedTuple):
    """An engine's name, and one sentence that says why it was chosen."""

    engine: str
    reason: str


def choose_engine(engine: str, problem: Problem) -> Choice:
    """Return which engine computes a problem, and why.

    Raises
    ------
    ReducerError
        For an unknown engine, or one that does not cover the problem's options.
    MissingDependencyError
        Where cuML is asked for and not installed.
    """
    if engine not in get_args(EngineName):
        raise ReducerError(f"engine: {engine!r} is none of {', '.join(get_args(EngineName))}")
    needs = _needs_umap_learn(problem)
    if engine == "auto":
        return _automatic(problem, needs)
    if engine in ("numba", "torch") and needs:
        raise ReducerError(f"engine {engine!r} does not cover {needs}; use engine='umap-learn' or 'auto'")
    if engine == "cuml":
        _check_cuml(problem)
    return Choice(engine, f"{engine} was asked for")


def compute(engine: str | Engine, problem: Problem) -> tuple[Choice, Array, Any]:
    """Compute a problem; return which engine did it and why, the map, and the library's model or None.

    If `auto` chose cuML and cuML fails, for whatever reason, our engine computes instead. If a card has too little
    memory even for small blocks, the CPU computes instead. An engine that is an object is used as it is.

    Raises
    ------
    ReducerError, MissingDependencyError
        As `choose_engine` does, and for a map of the wrong shape. An engine's own errors are raised as they are, except
        those of cuML under `auto`.
    """
    if isinstance(engine, Engine):
        Z, model = engine.fit(problem)
        _check_shape(Z, problem)
        name = getattr(engine, "__name__", type(engine).__name__)
        return Choice(name, "the engine that was passed"), np.ascontiguousarray(Z, np.float32), model
    choice = choose_engine(engine, problem)
    if engine == "auto" and choice.engine == "cuml":
        try:
            Z, model = _fit("cuml", problem)
            _check_map(Z, problem)
            return choice, Z, model
        except Exception as error:  # the library, its CUDA libraries and the card each have errors of their own
            choice = _instead_of_cuml(problem, error)
    try:
        return choice, *_fit(choice.engine, problem)
    except RuntimeError as error:
        if not is_out_of_memory(error):
            raise
    # The error's traceback, which refers to the engine's tensors, is gone only here.
    torch.cuda.empty_cache()
    on_cpu = replace(problem, X=as_numpy(problem.X), device=torch.device("cpu"), options={})
    reason = f"the CUDA card ran out of memory ({choice.reason}), so the CPU took over"
    return Choice("numba", reason), *_fit("numba", on_cpu)


def _fit(engine: str, problem: Problem) -> tuple[Array, Any]:
    """Run an engine with the problem's card as the current one, on which cuML and Triton's kernels compute."""
    with as_current(problem.device):
        Z, model = load_engine(engine).fit(problem)
    return Z, model


def _check_map(Z: Array, problem: Problem) -> None:
    _check_shape(Z, problem)
    lost = len(Z) - int(np.isfinite(Z).all(axis=1).sum())
    if lost:
        raise ReducerError(f"its map holds NaN or infinity in {lost} of {len(Z)} rows")


def _check_shape(Z: Array, problem: Problem) -> None:
    expected = (problem.X.shape[0], problem.n_components)
    if Z.shape != expected:
        raise ReducerError(f"its map has shape {Z.shape}, not {expected}")


def _instead_of_cuml(problem: Problem, error: Exception) -> Choice:
    cause = error.__cause__ or error  # the library's own error, where ours names the options around it
    quoted = (str(cause).splitlines() or [""])[0]
    needs = _needs_umap_learn(problem)
    reason = f"cuML failed ({type(cause).__name__}: {quoted})"
    if needs:
        return Choice("umap-learn", f"{reason}, and umap-learn covers {needs}")
    return Choice("torch", reason)


def load_engine(name: str) -> Engine:
    """Import an engine of ours: a module with `Engine`'s function `fit`."""
    engine: Any = importlib.import_module(f"torchviz_layers.reducers.{_MODULES[name]}")
    return engine  # type: ignore[no-any-return]


def has_cuml() -> bool:
    """Return whether cuML is installed, without importing it."""
    return importlib.util.find_spec("cuml") is not None


def _automatic(problem: Problem, needs: str) -> Choice:
    """Return the choice of `auto`, where only umap-learn (and perhaps cuML) covers `needs`."""
    cuml_can = problem.device.type == "cuda" and has_cuml() and problem.X.shape[0] >= CUML_LEAST
    if needs and not (cuml_can and _is_option(needs)):
        return Choice("umap-learn", f"umap-learn covers {needs}")
    if problem.device.type == "cuda":
        if not has_cuml():
            return Choice("torch", "a CUDA card is present and cuML is not installed")
        if problem.X.shape[0] < CUML_LEAST:
            return Choice("torch", f"cuML needs at least {CUML_LEAST} samples, and there are {problem.X.shape[0]}")
        if problem.callback is not None:
            return Choice("torch", "a CUDA card is present, and cuML takes no Python callback")
        if problem.seeded and not needs:
            return Choice("torch", "a seed is given, and cuML's maps are not the same for one seed")
        return Choice("cuml", "a CUDA card and cuML are present")
    if torch.cuda.is_available():
        return Choice("numba", "the CPU was asked for")
    if torch.backends.mps.is_available():
        return Choice("numba", "UMAP runs on the CPU beside an MPS device")
    return Choice("numba", "no CUDA card is present")


def _needs_umap_learn(problem: Problem) -> str:
    """Return what in the problem only umap-learn covers; an empty string if nothing."""
    if hasattr(problem.X, "tocsr"):
        return "sparse input"
    if problem.metric not in METRICS:
        return f"metric={problem.metric!r}"
    if problem.start == "spectral":
        return "init='spectral'"
    if problem.options:
        return f"engine_kwargs ({', '.join(problem.options)})"
    return ""


def _is_option(needs: str) -> bool:
    """Return whether cuML covers it too."""
    return needs.startswith(("init=", "engine_kwargs"))


def _check_cuml(problem: Problem) -> None:
    if not has_cuml():
        raise MissingDependencyError("cuML", "cuda13", "engine='cuml'")
    if hasattr(problem.X, "tocsr"):
        raise ReducerError("engine 'cuml' takes dense rows only; use engine='umap-learn' or 'auto' for sparse ones")
    if problem.device.type != "cuda":
        raise ReducerError("engine 'cuml' needs a CUDA card, and the device is the CPU; use engine='auto'")
    if problem.X.shape[0] < CUML_LEAST:
        raise ReducerError(f"engine 'cuml' needs at least {CUML_LEAST} samples, and there are {problem.X.shape[0]}")
