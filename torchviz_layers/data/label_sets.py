"""Several labels a sample: rows of 0 and 1, or lists of labels, as a table of bools."""

from __future__ import annotations

import numpy as np

from torchviz_layers._common.arrays import Array
from torchviz_layers.data.class_codes import check_count, indices_of, sorted_order
from torchviz_layers.data.plain_values import PlainValues
from torchviz_layers.exceptions import DataError

LabelSets = tuple[Array, tuple[str, ...], str]  # bool (n, n_labels), names of the labels, notice


def sets_of_rows(plain: PlainValues, names: tuple[str, ...], what: str) -> LabelSets:
    """Return rows (n, k) of 0 and 1 as bools."""
    if plain.kind not in ("bool", "int", "float") or plain.values.ndim != 2:
        shape = plain.values.shape
        raise DataError(
            f"{what}: for task='multilabel' they are rows (n, n_labels) of 0 and 1, or a list of labels a sample; got "
            f"{plain.kind} {shape}"
        )
    _check_complete(plain, what)
    wrong = np.flatnonzero(~np.isin(plain.values, (0, 1)).all(axis=1))
    if len(wrong):
        row = int(wrong[0])
        raise DataError(
            f"{what}: {len(wrong)} rows have other numbers than 0 and 1 (row {row}: {plain.values[row][:8].tolist()}); "
            "give 1 for each label that the sample has, or, if they are lists of labels, [set(row) for row in targets]"
        )
    return plain.values.astype(bool), check_count(names or plain.order, plain.values.shape[1], what), ""


def sets_of_labels(plain: PlainValues, names: tuple[str, ...], what: str) -> LabelSets:
    """Return a list of labels a sample, text or numbers from 0, as bools."""
    _check_complete(plain, what)
    labels = [label for row in plain.values for label in row]
    kinds = {type(label) for label in labels}
    if not labels or not (kinds == {str} or kinds == {int}):
        shown = "all are empty" if not labels else f"got {', '.join(sorted(kind.__name__ for kind in kinds))}"
        raise DataError(
            f"{what}: lists of labels are of text or of whole numbers, [['cat', 'dog'], [], ['cat']] say; {shown}; "
            "if these are masks or boxes, leave targets out (targets=None)"
        )
    notice = ""
    if kinds == {int}:
        lowest, highest = min(labels), max(labels)
        names = names or tuple(map(str, range(min(highest, 10**6) + 1)))
        if not 0 <= lowest <= highest < len(names):
            raise DataError(f"{what}: labels from {lowest} to {highest}; they are indices of {len(names)} label names")
    elif not names:
        names, notice = sorted_order(set(labels))
    codes = labels if kinds == {int} else indices_of(labels, names, what)
    rows = np.repeat(np.arange(len(plain)), [len(row) for row in plain.values])
    sets = np.zeros((len(plain), len(names)), bool)
    sets[rows, codes] = True
    return sets, names, notice


def _check_complete(plain: PlainValues, what: str) -> None:
    if plain.missing.any():
        shown = ", ".join(map(str, np.flatnonzero(plain.missing)[:10]))
        raise DataError(
            f"{what}: {int(plain.missing.sum())} samples have no list of labels (rows {shown}); give an empty one if "
            "they have none of the labels, else leave them out of the data"
        )
