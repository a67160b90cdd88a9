"""What a reader can ask for: which samples and layers are embedded, by which reducer with which parameters."""

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

MAX_FIRST_LAYERS = 6  # layers that are shown before the reader has chosen


@dataclass(frozen=True)
class Option:
    """A parameter of a reducer, as the page offers it: a number within limits, or one of a few choices."""

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
        """Return the value as the reducer takes it; raise `ReducerError` with the rule and the value otherwise."""
        if self.choices:
            if value not in self.choices:
                raise ReducerError(f"{self.name}: {value!r} is none of {', '.join(self.choices)}")
            return value
        # An option with an integer as its lower limit takes integers alone. JSON's booleans are integers in Python.
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
        "how close together points may be",
        ("umap", "torchdr-umap"),
        0.1,
        0.0,
        1.0,
        0.05,
    ),
    Option("metric", "Metric", "distance between activations", ("umap",), "euclidean", choices=METRICS),
    Option(
        "perplexity", "Perplexity", "about how many neighbours each point has", ("tsne", "torchdr-tsne"), 30, 2, 500
    ),
    Option(
        "random_state",
        "Seed",
        "the same seed gives the same result",
        ("umap", "tsne", "pacmap", "torchdr-umap", "torchdr-tsne"),
        0,
        0,
        2**31 - 1,
    ),
)


@dataclass(frozen=True)
class Request:
    """Which samples and layers to embed, and how.

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
        """Return the reducer; its neighbourhoods are at most as large as the number of samples."""
        options = {**self.options, **more}
        if "n_neighbors" in options:
            options["n_neighbors"] = min(options["n_neighbors"], len(self.rows))
        return make_reducer(self.reducer, **options)


def first_request(source: Source) -> Request:
    """Return what the page opens with: all samples through at most six layers, spread evenly from first to last."""
    names = list(source.layers)
    depths = np.linspace(0, len(names) - 1, min(MAX_FIRST_LAYERS, len(names)))
    chosen = tuple(names[round(depth)] for depth in depths)
    return Request(np.arange(source.n_samples), chosen, options=defaults("umap"))


def defaults(reducer: str) -> dict[str, Any]:
    """Return a reducer's parameters and their default values."""
    return {option.name: option.default for option in OPTIONS if reducer in option.reducers}


def read_request(message: Mapping[str, Any], rows: NDArray[np.int64], source: Source) -> Request:
    """Return the request in a browser's message; everything in it is checked, because anybody can send one.

    Raises
    ------
    UnknownLayerError, ReducerError, PageError
        If it cannot be done; the error names the value.
    """
    layers = _names(message.get("layers"), "layers")
    unknown = [name for name in layers if name not in source.layers]
    if unknown:
        raise UnknownLayerError(f"layers: {unknown[0]!r} is none of the store's ({', '.join(source.layers)})")
    if not layers:
        raise PageError("layers: none is chosen; choose at least one")
    reducer, options = message.get("reducer"), message.get("options")
    if reducer not in available_reducers():
        raise ReducerError(f"reducer: {reducer!r} is unknown; there are {', '.join(available_reducers())}")
    # Options of other reducers are ignored: the page sends those of its fields that are shown.
    given = options if isinstance(options, dict) else {}
    checked = {}
    for option in OPTIONS:
        if reducer in option.reducers:
            checked[option.name] = option.checked(given.get(option.name, option.default))
    if len(rows) < MIN_SAMPLES:
        raise PageError(f"{len(rows)} samples are too few to embed: select at least {MIN_SAMPLES}")
    in_forward_order = tuple(name for name in source.layers if name in layers)
    return Request(rows, in_forward_order, reducer, checked)


def read_rows(value: Any, source: Source) -> NDArray[np.int64]:
    """Return rows that a browser names, ascending and each once; raise `PageError` for what is no row."""
    n = source.n_samples
    if not isinstance(value, list) or not all(type(row) is int and 0 <= row < n for row in value):
        raise PageError(f"rows: the page named samples that the store, of {n:,}, does not have; reload it")
    return np.unique(np.array(value, np.int64))


def _names(value: Any, name: str) -> Sequence[str]:
    if not isinstance(value, list) or not all(isinstance(each, str) for each in value):
        raise PageError(f"{name}: a list of names is expected; reload the page")
    return value
