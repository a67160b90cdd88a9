"""What a page shows instead of classes, where the task is another one than classification."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from torchviz_layers.page.multilabel import MultiLabel
from torchviz_layers.page.records import Network, PageData
from torchviz_layers.page.regression import Regression
from torchviz_layers.page.subset import Segment, Subset


class Task(Protocol):
    """The parts of a page that depend on the task; the modules of `Regression` and `MultiLabel` describe them."""

    def errors(self, network: Network) -> NDArray[np.bool_]:
        """Return a mask of the samples that a network has wrong, of shape (n_samples,)."""

    def severity(self) -> NDArray[np.float64]:
        """Return how far off the worst network is at each sample, of shape (n_samples,)."""

    def worst(self, most: int) -> NDArray[np.bool_]:
        """Return a mask of the errors, of at most so many: the worst."""

    def of_part(self, rows: NDArray[np.int64]) -> dict[str, Any]:
        """Return changes of the data for a page that shows these samples alone."""

    def promise(self, rows: NDArray[np.int64]) -> str:
        """Return what a page that shows these samples alone is guaranteed to contain."""

    def subsets(self) -> list[Subset]:
        """Return the subsets that have a button."""

    def headline(self) -> list[Segment] | None:
        """Return the page's first sentence in parts, or None for the one on the number of layers."""

    def score(self, network: Network) -> tuple[str, str, str] | None:
        """Return a network's score, a second one, and what they mean."""

    def scores(self, network: Network) -> Any:
        """Return what a network keeps as `scores_of_all` if only a part of the samples is shown."""

    def notes(self) -> list[str]:
        """Return sentences that the reader should not miss."""

    def first_colors(self) -> tuple[NDArray[np.float32], float, float, Sequence[str]]:
        """Return what the page opens with: a number per sample, and the ends and colours of their scale."""

    def columns(self) -> dict[str, NDArray[Any]]:
        """Return arrays for the page's script by name."""

    def meta(self) -> dict[str, Any]:
        """Return what else the script needs, as JSON-able values."""

    def table(self) -> dict[str, NDArray[Any]]:
        """Return the columns of an export."""


def task_of(data: PageData) -> Task | None:
    """Return what the page shows instead of classes; None for classes, and where there is no target or prediction."""
    if data.task == "regression":
        return Regression(data)
    if data.task == "multilabel":
        return MultiLabel(data)
    return None
