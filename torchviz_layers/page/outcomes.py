"""Which samples have a label, and which of them a network misclassifies."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from torchviz_layers.page.records import Network, PageData
from torchviz_layers.page.tasks import task_of


def labelled(data: PageData) -> NDArray[np.bool_]:
    """Return a mask of the samples with a true class, of shape (n_samples,)."""
    if data.targets is None:
        return np.zeros(data.n_samples, bool)
    return np.asarray(data.targets >= 0)


def count_labelled(data: PageData) -> int:
    """Return how many of all samples have a label, also if only a part is shown."""
    if data.labelled_of_all is not None:
        return data.labelled_of_all
    return int(np.count_nonzero(labelled(data)))


def count_unlabelled(data: PageData) -> int:
    """Return how many of all samples have no label, among others that have one; 0 if none has."""
    known = count_labelled(data)
    return (data.count_of_all or data.n_samples) - known if known else 0


def errors_of(data: PageData, network: Network) -> NDArray[np.bool_]:
    """Return a mask of the samples that a network has wrong; none without targets or predictions.

    A sample without a label is neither right nor wrong.
    """
    task = task_of(data)
    if task is not None:
        return task.errors(network)
    if data.targets is None or network.predictions is None:
        return np.zeros(data.n_samples, bool)
    return np.asarray(labelled(data) & (network.predictions != data.targets))


def shown_labels(data: PageData) -> NDArray[np.int64] | None:
    """Return the classes that samples are coloured by at first, of shape (n_samples,), or None.

    They are the true classes or, without targets, the predictions of the first network that classifies. An unlabelled
    sample has the number of classes, the code behind the last class.
    """
    if data.targets is not None:
        return np.where(data.targets < 0, data.n_classes, data.targets)
    return next(iter(data.predictions), None)
