"""What the samples' targets are: classes, values of a regression, or sets of labels."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal, TypeAlias, get_args

import numpy as np

from torchviz_layers._common.arrays import Array
from torchviz_layers.data.class_codes import codes_of_numbers, codes_of_rows, codes_of_text
from torchviz_layers.data.class_names import as_class_names
from torchviz_layers.data.label_sets import sets_of_labels, sets_of_rows
from torchviz_layers.data.plain_values import PlainValues, described, plain_values
from torchviz_layers.exceptions import DataError

Task: TypeAlias = Literal["classification", "regression", "multilabel"]
TASKS: tuple[Task, ...] = get_args(Task)


@dataclass(frozen=True, eq=False)
class Targets:
    """Targets as the rest of the library needs them.

    Attributes
    ----------
    task : str
        "classification", "regression" or "multilabel".
    values : ndarray
        Classification: int64 (n,), the network's output for the class, -1 for a sample without a label. Regression:
        float64 (n,), NaN without a value. Multi-label: bool (n, n_labels).
    class_names : tuple of str
        Names of the classes or labels; () for a regression.
    notice : str
        What a reader must know about how they were read; usually empty.
    """

    task: Task
    values: Array
    class_names: tuple[str, ...] = ()
    notice: str = ""


def read_targets(
    values: Any, *, n: int | None = None, task: str | None = None, class_names: Any = (), name: str = "samples"
) -> Targets:
    """Read targets of any kind.

    Parameters
    ----------
    values
        One target a sample: an array, a tensor, a list, a Series. Numbers that are whole, text, bools, categories and
        one-hot rows are classes; other numbers are values of a regression; rows (n, k) of 0 and 1, and lists of labels
        of different lengths, are several labels a sample: as `sklearn.utils.multiclass.type_of_target` decides, except
        for one-hot rows. None, NaN and, of classes, -100 and -1 mean that a sample has no label.
    n
        Number of samples, to check the targets' number.
    task
        One of `TASKS`, to decide otherwise: ages are whole numbers and no classes.
    class_names
        Names in the order of the network's outputs. Numbers are indices into them, text is searched among them.
        Without names a number is the network's output itself, and text is sorted.
    name
        What an error message calls the samples.

    Raises
    ------
    DataError
        If these are no targets, none of the samples has one, or they do not fit the names.

    Examples
    --------
    >>> read_targets(["dog", "cat", None]).values.tolist()
    [1, 0, -1]
    >>> read_targets([1.5, 2.0]).task
    'regression'
    """
    what = f"{name}: targets"
    if task is not None and not (isinstance(task, str) and task in TASKS):
        raise DataError(
            f"task={described(task)}: it is one of {', '.join(TASKS)}, or None, which decides by the targets"
        )
    names = as_class_names(class_names, name)
    plain = plain_values(values, what)
    if n is not None and len(plain) != n:
        raise DataError(f"{what}: {len(plain):,} of them for {n:,} samples; give one a sample, in the same order")
    if plain.missing.all():
        raise DataError(f"{what}: no sample has one, all are None or NaN; leave targets out (targets=None)")
    plain = _without_second_axis(plain, task, what)
    task = task or _task_of(plain, what)
    if task == "regression":
        return Targets("regression", _numbers(plain, what))
    if task == "multilabel":
        sets, names, notice = (sets_of_labels if plain.kind == "sets" else sets_of_rows)(plain, names, what)
        return Targets("multilabel", sets, names, notice)
    codes, names, notice = _codes(plain, names, what)
    return Targets("classification", codes, names, notice)


def _without_second_axis(plain: PlainValues, task: str | None, what: str) -> PlainValues:
    """Return a column (n, 1) as (n,)."""
    if plain.kind == "sets" and task != "multilabel":
        if all(isinstance(row, list) and len(row) == 1 for row in plain.values[~plain.missing]):
            return plain_values([row[0] if row else None for row in plain.values], what)
        return plain
    if plain.values.shape[1:] != (1,) or task == "multilabel":
        return plain
    column = plain.values[:, 0]
    missing = plain.missing | (np.isnan(column) if plain.kind == "float" else False)
    return PlainValues(plain.kind, column, missing)


def _task_of(plain: PlainValues, what: str) -> Task:
    shape = plain.values.shape
    if plain.kind == "date":
        raise DataError(
            f"{what}: dates are neither classes nor values; give them as columns={{'date': ...}}, or as numbers (days)"
        )
    if plain.kind == "sets":
        return "multilabel"
    if len(shape) == 1:
        if plain.kind == "float" and not _all_whole(plain.values[~plain.missing]):
            return "regression"
        return "classification"
    if len(shape) > 2:
        raise DataError(
            f"{what}: an array {shape}, not one target a sample; masks and the like are not shown: leave targets out "
            "(targets=None), or give one label a sample, masks.reshape(len(masks), -1).max(1) say"
        )
    rows = plain.values[~plain.missing]  # (n_known, k)
    if not np.isin(rows, (0, 1)).all():
        raise DataError(
            f"{what}: an array {shape} with other numbers than 0 and 1 is neither one-hot rows nor several labels a "
            "sample; give targets[:, 0] (the others as columns=), targets.argmax(1) if these are probabilities, or "
            "targets > 0 if they are labels, one a column"
        )
    return "classification" if (rows.sum(axis=1) == 1).all() else "multilabel"


def _all_whole(numbers: Array) -> bool:
    return bool(np.isfinite(numbers).all() and (numbers == np.floor(numbers)).all())


def _codes(plain: PlainValues, names: tuple[str, ...], what: str) -> tuple[Array, tuple[str, ...], str]:
    if plain.kind == "text":
        return codes_of_text(plain, names, what)
    if plain.kind == "sets" or plain.values.ndim > 1:
        return codes_of_rows(plain, names, what)
    if plain.kind == "bool":
        present = plain.values & ~plain.missing
        as_numbers = PlainValues("int", present.astype(np.int64), plain.missing)
        return codes_of_numbers(as_numbers, names or ("False", "True"), what)
    if plain.kind == "date" or not _all_whole(plain.values[~plain.missing]):
        raise DataError(
            f"{what}: for task='classification' they are whole numbers or text; give "
            "[str(target) for target in targets] if each different one is a class"
        )
    return codes_of_numbers(plain, names, what)


def _numbers(plain: PlainValues, what: str) -> Array:
    """Return the values of a regression, float64 (n,) with NaN where one is missing."""
    if plain.kind not in ("bool", "int", "float") or plain.values.ndim > 1:
        shape = plain.values.shape
        raise DataError(f"{what}: for task='regression' they are one number a sample, got {plain.kind} {shape}")
    numbers = np.where(plain.missing, np.nan, plain.values).astype(np.float64)
    infinite = np.flatnonzero(np.isinf(numbers))
    if len(infinite):
        shown = ", ".join(map(str, infinite[:10]))
        raise DataError(
            f"{what}: {len(infinite)} are infinite (rows {shown}); give NaN there for 'unknown', "
            "np.where(np.isfinite(targets), targets, np.nan)"
        )
    return numbers
