"""What a command prints about a page: how well each network predicts."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from torchviz_layers.page import Network, PageData


def about_predictions(data: PageData, network: Network, name: str) -> str:
    """Return a line on a network's predictions of all samples; empty without targets or predictions.

    `name` is that of the samples.
    """
    from torchviz_layers.page.scores import LabelScores, ValueScores, rounded
    from torchviz_layers.page.tasks import task_of

    n = data.count_of_all or data.n_samples
    where = f"on {name}, {n:,} samples"
    task = task_of(data)
    if task is None:
        accuracy = network.accuracy(data.targets)
        return "" if accuracy is None else f"{network.name}: accuracy {accuracy:.4f} {where}{_unlabelled(data)}"
    scores = task.scores(network)
    if isinstance(scores, LabelScores):
        return (
            f"{network.name}: exact match {scores.exact:.4f}, accuracy of a label {scores.mean_accuracy:.4f} {where}, "
            f"{len(scores.has)} labels"
        )
    if not isinstance(scores, ValueScores) or scores.mean_error is None:
        return ""
    r2 = "not defined" if scores.r2 is None else f"{scores.r2:.4f}"
    return f"{network.name}: R² {r2}, mean absolute error {rounded(scores.mean_error)} {where}"


def _unlabelled(data: PageData) -> str:
    """Return how many of the samples shown have no label, for the end of a line; empty if all have one."""
    if data.targets is None:
        return ""
    count = int(np.count_nonzero(np.asarray(data.targets) < 0))
    return f" ({count:,} of those shown without a label)" if count else ""
