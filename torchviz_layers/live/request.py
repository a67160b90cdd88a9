"""What a reader may ask to be laid out: which samples, which layers, which reducer with which parameters."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from torchviz_layers.exceptions import PageError, ReducerError, UnknownLayerError
from torchviz_layers.live.source import MIN_SAMPLES, Source
from torchviz_layers.neighbors.search import METRICS
from torchviz_layers.reducers import Reducer, available_reducers, make_reducer

MOST_AT_FIRST = 6  # layers that are shown before the reader has chosen


@dataclass(frozen=True)
class Option:
    """A parameter of a reducer as the page asks for it: a number within limits, or one of some words."""

    name: str
    label: str
    help: str
    reducers: tuple[str, ...]
    default: float | str
    low: float = 0
    high: float = 0
    step: float = 1
    choices: tuple[str, ...] = ()

    def checked(self, value: Any) -> Any:
        """Return the value, or raise `ReducerError` with the rule and the value."""
        if self.choices:
            if value not in self.choices:
                raise ReducerError(f"{self.name}: {value!r} is none of {', '.join(self.choices)}")
            return value
        whole = isinstance(self.low, int)
        fits = isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
        if not fits or not self.low <= value <= self.high or (whole and value != int(value)):
            kind = "a whole number" if whole else "a number"
            raise ReducerError(f"{self.name}: {value!r} is not {kind} from {self.low} to {self.high}")
        return int(value) if whole else float(value)


OPTIONS = (
    Option(
        "n_neighbors",
        "Neighbours",
        "size of the neighbourhood that is kept together",
        ("umap", "pacmap", "torchdr-umap"),
        15,
        2,
        500,
    ),
    Option(
        "min_dist",
        "Min. distance",
        "how near to each other points may lie",
        ("umap", "torchdr-umap"),
        0.1,
        0.0,
        1.0,
        0.05,
    ),
    Option("metric", "Metric", "distance between activations", ("umap",), "euclidean", choices=METRICS),
    Option("perplexity", "Perplexity", "about how many neighbours count", ("tsne", "torchdr-tsne"), 30, 2, 500),
    Option(
        "random_state",
        "Seed",
        "the same seed gives the same layout",
        ("umap", "tsne", "pacmap", "torchdr-umap", "torchdr-tsne"),
        0,
        0,
        2**31 - 1,
    ),
)


@dataclass(frozen=True)
class Layout:
    """What to lay out, and how.

    Parameters
    ----------
    rows
        Rows of the samples in the store, ascending.
    layers
        Names of the layers, in forward order.
    reducer, options
        The reducer's name, and its parameters.
    """

    rows: NDArray[np.int64]
    layers: tuple[str, ...]
    reducer: str = "umap"
    options: Mapping[str, Any] = field(default_factory=dict)

    def make_reducer(self, **more: Any) -> Reducer:
        """Return the reducer; neighbourhoods are cut to the number of samples."""
        options = {**self.options, **more}
        if "n_neighbors" in options:
            options["n_neighbors"] = min(options["n_neighbors"], len(self.rows))
        return make_reducer(self.reducer, **options)


def first_layout(source: Source) -> Layout:
    """Return what the page opens with: all samples through at most six layers, spread evenly from first to last."""
    names = list(source.layers)
    places = np.linspace(0, len(names) - 1, min(MOST_AT_FIRST, len(names)))
    chosen = [names[round(place)] for place in places]
    return Layout(np.arange(source.n_samples), tuple(chosen), options=defaults("umap"))


def defaults(reducer: str) -> dict[str, Any]:
    """Return the parameters that a reducer is given where nothing else is asked for."""
    return {option.name: option.default for option in OPTIONS if reducer in option.reducers}


def read_layout(ask: Mapping[str, Any], rows: NDArray[np.int64], source: Source) -> Layout:
    """Return what a browser asks for, checked: nothing that comes from there is believed.

    Raises
    ------
    UnknownLayerError, ReducerError, PageError
        Where it cannot be laid out; the message names the value.
    """
    asked = _words(ask.get("layers"), "layers")
    unknown = [name for name in asked if name not in source.layers]
    if unknown:
        raise UnknownLayerError(f"layers: {unknown[0]!r} is none of the store's ({', '.join(source.layers)})")
    if not asked:
        raise PageError("layers: none is chosen; choose at least one")
    reducer, options = ask.get("reducer"), ask.get("options")
    if reducer not in available_reducers():
        raise ReducerError(f"reducer: {reducer!r} is unknown; there are {', '.join(available_reducers())}")
    given = options if isinstance(options, dict) else {}
    taken = [option for option in OPTIONS if reducer in option.reducers]
    checked = {option.name: option.checked(given.get(option.name, option.default)) for option in taken}
    if len(rows) < MIN_SAMPLES:
        raise PageError(f"{len(rows)} samples are too few for a layout: select at least {MIN_SAMPLES}")
    return Layout(rows, tuple(name for name in source.layers if name in asked), reducer, checked)


def read_rows(value: Any, source: Source) -> NDArray[np.int64]:
    """Return rows that a browser names, ascending and each once; raise `PageError` for what is no row."""
    n = source.n_samples
    if not isinstance(value, list) or not all(type(row) is int and 0 <= row < n for row in value):
        raise PageError(f"rows: the page named samples that the store, of {n:,}, does not have; reload it")
    return np.unique(np.array(value, np.int64))


def _words(value: Any, name: str) -> Sequence[str]:
    if not isinstance(value, list) or not all(isinstance(word, str) for word in value):
        raise PageError(f"{name}: a list of names is expected; reload the page")
    return value
