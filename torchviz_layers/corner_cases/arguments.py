"""What `find_corner_cases` is given: predictions and targets, checked against each other."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from torch.utils.data import DataLoader, Dataset

from torchviz_layers._common.arrays import Array, as_numpy
from torchviz_layers.data import Samples
from torchviz_layers.data.targets import Targets, read_targets
from torchviz_layers.exceptions import DataError


def read_truth(targets: Any, task: str | None, class_names: Sequence[str] | None) -> Targets | None:
    """Return the targets as the search needs them; None without targets."""
    names: Any = () if class_names is None else class_names
    if isinstance(targets, Dataset | DataLoader):
        targets = Samples.of(targets)
    if isinstance(targets, Samples):
        if targets.targets is None or targets.task is None:
            return None
        if task in (None, targets.task):
            return Targets(targets.task, targets.targets, tuple(names) or targets.class_names)
        return read_targets(targets.targets, task=task, class_names=names, name=targets.name)
    if targets is None:
        return None
    return read_targets(targets, task=task, class_names=names)


def network_outputs(predictions: Any, truth: Targets) -> dict[str, Array]:
    """Return each network's predictions as floats: (n,) for a regression, else (n, n_outputs).

    A single network without a name is called "the network".

    Raises
    ------
    DataError
        If they are no predictions of the task, or do not fit the targets or each other.
    """
    given = dict(predictions) if isinstance(predictions, Mapping) else {"the network": predictions}
    if not given:
        raise DataError("predictions: no network is given; give {'name': predictions}, or one array")
    arrays = {str(name): _numbers(f"predictions of {name}", each) for name, each in given.items()}
    if truth.task == "regression":
        return {name: _of_values(name, each, truth.values) for name, each in arrays.items()}
    for name, each in arrays.items():
        _check_probabilities(name, each, truth)
    widths = {each.shape[1] for each in arrays.values()}
    if len(widths) > 1:
        raise DataError(f"predictions: the networks have {sorted(widths)} classes; they must agree")
    n_classes = widths.pop()
    if truth.task == "classification" and truth.values.max(initial=-1) >= n_classes:
        raise DataError(
            f"targets: class {truth.values.max()}, but the networks' {n_classes} classes are from 0 to {n_classes - 1}"
        )
    return arrays


def _numbers(what: str, given: Any) -> Array:
    """Return predictions as an array of floats."""
    try:
        array = as_numpy(given)
    except (TypeError, ValueError) as problem:
        raise DataError(f"{what}: {type(given).__name__}, which is no array: {problem}") from problem
    if array.dtype.kind not in "fiub":
        raise DataError(f"{what} hold {array.dtype}, not real numbers; give an array or tensor of floats")
    return array if array.dtype.kind == "f" else array.astype(np.float32)


def _of_values(name: str, predicted: Array, values: Array) -> Array:
    """Return a regression's predictions (n,) or (n, 1) as float64 (n,), NaN where they are not finite."""
    n = len(values)
    if predicted.shape not in ((n,), (n, 1)):
        raise DataError(
            f"predictions of {name} have shape {predicted.shape}, targets {values.shape}: one value a sample is needed"
        )
    flat = predicted.reshape(n).astype(np.float64)
    return np.where(np.isfinite(flat), flat, np.nan)


def _check_probabilities(name: str, table: Array, truth: Targets) -> None:
    needed = "(n, n_labels) and (n, n_labels)" if truth.task == "multilabel" else "(n, n_classes) and (n,)"
    if table.ndim != 2 or len(table) != len(truth.values):
        raise DataError(
            f"predictions of {name} have shape {table.shape}, targets {truth.values.shape}: {needed} are needed"
        )
    if truth.task == "multilabel" and table.shape != truth.values.shape:
        raise DataError(
            f"predictions of {name} have shape {table.shape}, targets {truth.values.shape}: one probability for each "
            "label is needed"
        )
    if truth.task == "classification" and table.shape[1] < 2:
        raise DataError(
            f"predictions of {name} have one column: from one probability p per sample make np.stack([1 - p, p], 1)"
        )
    low, high = np.nanmin(table, initial=0), np.nanmax(table, initial=0)
    if low < -1e-3 or high > 1 + 1e-3:
        function = "torch.sigmoid(outputs)" if truth.task == "multilabel" else "outputs.softmax(1)"
        raise DataError(
            f"predictions of {name} are from {low:.3g} to {high:.3g}: probabilities are from 0 to 1; of logits, give "
            f"{function}"
        )
