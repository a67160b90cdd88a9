"""Labels become class codes: the number of the network's output that stands for the class."""

from __future__ import annotations

import difflib
from dataclasses import replace

import numpy as np

from torchviz_layers._common.arrays import Array
from torchviz_layers.data.plain_values import PlainValues
from torchviz_layers.exceptions import DataError

Codes = tuple[Array, tuple[str, ...], str]  # codes int64 (n,) with -1 for unlabelled, class names, notice

IGNORED = -100  # PyTorch's losses leave samples with this label out (`ignore_index`)
UNLABELLED = -1  # scikit-learn's sign for a sample without a label, and Hugging Face's
_MOST_OUTPUTS = 10_000  # numbers above it are no outputs of a network but identifiers
_MANY = 1_000  # different labels that are more likely values
_SHOWN = 3


def codes_of_numbers(plain: PlainValues, names: tuple[str, ...], what: str) -> Codes:
    """Return whole numbers (n,) as codes: label k is output k, unless the numbers cannot be outputs."""
    numbers, notices = plain.values, []
    missing = plain.missing | (numbers == IGNORED)
    different = _different(numbers[~missing], what)
    plus_minus = different.tolist() == [-1, 1] and len(names) in (0, 2)  # the two classes of a support vector machine
    if different[0] == UNLABELLED and not plus_minus:
        count = int((numbers[~missing] == UNLABELLED).sum())
        missing = missing | (numbers == UNLABELLED)
        different = _different(numbers[~missing], what)
        verb = "target is" if count == 1 else "targets are"
        notices.append(f"{count:,} {verb} -1, read as 'no label'; if -1 is a class, give targets + 1")
    lowest, highest = int(different[0]), int(different[-1])
    if plus_minus or (not names and (lowest < 0 or highest >= _MOST_OUTPUTS)):
        positions = np.searchsorted(different, numbers)  # of missing ones: anything, replaced below
        codes = np.where(missing, -1, positions).astype(np.int64)
        found = tuple(str(int(number)) for number in different)
        notices.append(_on_order("numbers", names or found))
        notices.append(_on_many(len(different), int((~missing).sum())))
        return codes, names or found, _joined(notices)
    if names and not 0 <= lowest <= highest < len(names):
        way_out = "give a name for each" + (f", or targets - {lowest}" if lowest else "")
        raise DataError(
            f"{what}: labels from {lowest} to {highest}, but {len(names)} class names, which are those of 0 to "
            f"{len(names) - 1}; {way_out}"
        )
    codes = np.full(len(numbers), -1, np.int64)
    codes[~missing] = numbers[~missing]
    if not names:
        notices.append(_on_lowest(lowest, highest))
        notices.append(_on_many(len(different), int((~missing).sum())))
        names = tuple(map(str, range(highest + 1)))
    return codes, names, _joined(notices)


def codes_of_text(plain: PlainValues, names: tuple[str, ...], what: str) -> Codes:
    """Return text (n,) as codes: its index in the names, in its categories or, without either, in sorted order."""
    notices = []
    is_empty = ~plain.missing & (plain.values == "")
    if is_empty.any() and "" not in (*names, *plain.order):
        notices.append(f"{int(is_empty.sum()):,} of the targets are empty text, read as 'no label'")
        plain = replace(plain, missing=plain.missing | is_empty)
        if plain.missing.all():
            raise DataError(f"{what}: no sample has one, all are empty or None; leave targets out (targets=None)")
    present = set(plain.values[~plain.missing].tolist())
    if names and len(names) == len(plain.order) and not present & set(names):
        order = plain.order  # other names for the categories
    elif names or plain.order:
        order = names or plain.order
    else:
        order = tuple(_sorted(present))
        notices += [_on_order("text", order), _on_many(len(order), int((~plain.missing).sum()))]
    codes = np.full(len(plain), -1, np.int64)
    codes[~plain.missing] = indices_of(plain.values[~plain.missing].tolist(), order, what)
    return codes, names or order, _joined(notices)


def codes_of_rows(plain: PlainValues, names: tuple[str, ...], what: str) -> Codes:
    """Return one-hot rows (n, k) as codes."""
    rows = plain.values[~plain.missing]
    if plain.kind == "sets" or rows.ndim != 2 or not np.isin(rows, (0, 1)).all() or (rows.sum(axis=1) != 1).any():
        raise DataError(
            f"{what}: for task='classification' rows have exactly one 1, one-hot; several labels a sample are "
            "task='multilabel'"
        )
    names = check_count(names or plain.order, rows.shape[1], what)
    codes = np.full(len(plain), -1, np.int64)
    codes[~plain.missing] = rows.argmax(axis=1)
    return codes, names, ""


def check_count(names: tuple[str, ...], n_columns: int, what: str) -> tuple[str, ...]:
    """Return the names, or numbers if there are none; raise `DataError` unless each column has one."""
    if names and len(names) != n_columns:
        raise DataError(f"{what}: {n_columns} columns, but {len(names)} class names; give one name a column")
    return names or tuple(map(str, range(n_columns)))


def indices_of(labels: list[str], names: tuple[str, ...], what: str) -> list[int]:
    """Return the index of each label among the names; raise `DataError` for one that is not there."""
    if len(set(names)) < len(names):
        twice = next(name for name in names if names.count(name) > 1)
        raise DataError(f"{what}: the class name {twice!r} occurs twice, so that labels are not clear; rename one")
    index = {name: number for number, name in enumerate(names)}
    unknown = sorted(set(labels) - set(names))
    if unknown:
        near = difflib.get_close_matches(unknown[0], names, n=_SHOWN) or names[:_SHOWN]
        raise DataError(
            f"{what}: {unknown[0]!r} is none of the {len(names)} class names; near it: "
            f"{', '.join(map(repr, near))}. Add it to class_names, or give None where a sample has no label"
        )
    return [index[label] for label in labels]


def sorted_order(labels: set[str]) -> tuple[tuple[str, ...], str]:
    """Return different labels as sorted names, and the sentence that says that this order was assumed."""
    order = tuple(_sorted(labels))
    return order, _on_order("text", order)


def _sorted(labels: set[str]) -> list[str]:
    """Sort text; where all of it is numbers, by the number ("2" before "10")."""
    if all(label.isascii() and label.isdigit() for label in labels):
        return sorted(labels, key=lambda label: (int(label), label))
    return sorted(labels)


def _different(numbers: Array, what: str) -> Array:
    if not len(numbers):
        raise DataError(f"{what}: no sample has one, all are -1, -100, None or NaN; leave targets out (targets=None)")
    return np.unique(numbers)


def _on_order(kind: str, order: tuple[str, ...]) -> str:
    shown = ", ".join(order[:_SHOWN]) + (", ..." if len(order) > _SHOWN else "")
    if kind == "text" and order == tuple(map(str, range(len(order)))):
        return ""  # the text "0", "1", ... is the number of the output
    how = "taken in sorted order" if kind == "text" else "the sorted numbers"
    return (
        f"the classes are {how} ({shown}), so that output 0 of a network is {order[0]}; if its order is another, give "
        "class_names="
    )


def _on_lowest(lowest: int, highest: int) -> str:
    if lowest == 0:
        return ""
    return (
        f"labels go from {lowest} to {highest}, without 0: output k of a network is taken for label k; if output 0 is "
        f"label {lowest}, give targets - {lowest}; if they are values, give task='regression'"
    )


def _on_many(n_different: int, n_labelled: int) -> str:
    if n_different <= _MANY and (n_labelled < 50 or n_different < 0.9 * n_labelled):
        return ""
    return (
        f"{n_different:,} different labels of {n_labelled:,} samples are read as classes; if they are values, give "
        "task='regression'"
    )


def _joined(notices: list[str]) -> str:
    return "; ".join(notice for notice in notices if notice)
