"""The parts of the CUDA suite in the order in which they run: the most important first.

Functions are named, not imported: where the imports of one part fail, the others run.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable
from typing import Any, NamedTuple


class Part(NamedTuple):
    """Goals that are checked together.

    Parameters
    ----------
    about
        What they are about, in words.
    function
        `module:function`, a generator of goals that takes a `Bench`.
    limit
        The seconds that it may take, once the process that runs it is ready.
    """

    about: str
    function: str
    limit: float

    def load(self) -> Callable[[Any], Any]:
        """Import the function."""
        module, name = self.function.split(":")
        function: Callable[[Any], Any] = getattr(importlib.import_module(module), name)
        return function


# The slow judges have limits of their own within their part's (see `judges`).
PARTS = {
    "neighbors": Part("exact neighbours", "benchmarks.cuda.search:neighbors", 90),
    "same-bytes": Part("UMAP, one seed", "benchmarks.cuda.maps:same_bytes", 60),
    "quality": Part("quality of maps", "benchmarks.cuda.maps:quality", 120),
    "times": Part("UMAP's time", "benchmarks.cuda.maps:times", 150),
    "capture": Part("capture", "benchmarks.cuda.recording:capturing", 90),
    "extract": Part("extract to memory", "benchmarks.cuda.recording:extracting", 90),
    "memory": Part("a batch that the card has no memory for", "benchmarks.cuda.conditions:out_of_memory", 60),
    "million": Part("a million samples", "benchmarks.cuda.maps:million", 300),
    "metrics": Part("measures", "benchmarks.cuda.numbers:measuring", 60),
    "tf32": Part("TF32 and what must not depend on it", "benchmarks.cuda.numbers:full_precision", 60),
    "page": Part("visualize_layers", "benchmarks.cuda.pages:page", 120),
    "layout": Part("the layout's kernel", "benchmarks.cuda.numbers:layout", 60),
    "compiled": Part("a compiled model", "benchmarks.cuda.conditions:compiled", 60),
    "cards": Part("a second card", "benchmarks.cuda.conditions:second_card", 60),
    "umap-learn": Part("UMAP beside umap-learn", "benchmarks.cuda.maps:against_umap_learn", 240),
    "quality-70k": Part("quality of a large map", "benchmarks.cuda.maps:quality_of_many", 180),
}
