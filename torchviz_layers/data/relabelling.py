"""Decisions about labels, made on the page, become changed targets."""

from __future__ import annotations

import csv
import json
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from torchviz_layers._common.arrays import Array
from torchviz_layers.exceptions import DataError

NEEDED = ("id", "decision", "new label")
DECISIONS = ("keep", "change", "unsure")
_SHOWN = 3
_FROM_THE_PAGE = "give the file that the page saves with CSV or JSON beside 'Decisions'"


def read_decisions(path: str | Path) -> list[dict[str, str]]:
    """Return the lines of a table of decisions, each with the values of `NEEDED` as text.

    Raises
    ------
    DataError
        If the file cannot be read, is no such table, or a decision is none of `DECISIONS`.
    """
    path = Path(path)
    if path.suffix.lower() not in (".csv", ".json"):
        raise DataError(f"{path}: a table of decisions is a .csv or .json file; {_FROM_THE_PAGE}")
    try:
        text = path.read_text(encoding="utf-8-sig")
        lines = json.loads(text) if path.suffix.lower() == ".json" else list(csv.DictReader(text.splitlines(True)))
    except (OSError, ValueError, csv.Error) as problem:
        raise DataError(f"{path} cannot be read: {problem}; {_FROM_THE_PAGE}") from problem
    if not isinstance(lines, list) or not all(isinstance(line, Mapping) for line in lines):
        raise DataError(f"{path}: a list of decisions is expected; {_FROM_THE_PAGE}")
    if not lines:
        raise DataError(f"{path} has no decision; decide on the page about at least one label, and save again")
    return [_checked(line, number, path) for number, line in enumerate(lines, start=1)]


def _checked(line: Mapping[str, Any], number: int, path: Path) -> dict[str, str]:
    missing = [name for name in NEEDED if name not in line]
    if missing:
        raise DataError(
            f"{path}: decision {number} has no {' and no '.join(map(repr, missing))}; it needs "
            f"{', '.join(map(repr, NEEDED))}; {_FROM_THE_PAGE}"
        )
    values = {name: "" if line[name] is None else str(line[name]) for name in NEEDED}
    if values["decision"] not in DECISIONS:
        raise DataError(
            f"{path}: decision {number} is {values['decision']!r}; it is one of {', '.join(DECISIONS)}; correct it in "
            "the file"
        )
    return values


def changed_labels(
    decisions: Iterable[Mapping[str, str]], labels: Array, ids: Array, names: Sequence[str], path: str | Path
) -> tuple[Array, int]:
    """Return the labels with the decisions applied, and how many are others now.

    Parameters
    ----------
    decisions
        As `read_decisions` returns them.
    labels
        Codes of the classes, (n,).
    ids
        One id a sample, (n,); those of the decisions are among them.
    names
        Names of all classes.
    path
        The decisions' file, for errors.

    Raises
    ------
    DataError
        If an id or a class is unknown, or an id stands for several samples or decisions.
    """
    row_of: dict[str, int] = {}
    shared: set[str] = set()
    for row, name in enumerate(map(str, ids)):
        if name in row_of:
            shared.add(name)
        row_of[name] = row
    code_of = {name: code for code, name in enumerate(names)}
    changed = np.array(labels, copy=True)
    decided: set[str] = set()
    for decision in decisions:
        name, label = decision["id"], decision["new label"]
        if name not in row_of:
            known = ", ".join(map(repr, list(row_of)[:_SHOWN]))
            raise DataError(
                f"{path}: id {name!r} is none of the {len(ids):,} samples' ({known}, ...); give the samples whose page "
                "the decisions are from"
            )
        if name in shared:
            raise DataError(
                f"{path}: id {name!r} is that of several samples; decisions need one id a sample: give other ids to "
                "Samples.of(..., ids=) and to the page"
            )
        if name in decided:
            raise DataError(f"{path}: id {name!r} has two decisions; leave one of its lines out")
        decided.add(name)
        if decision["decision"] != "change":
            continue
        if label not in code_of:
            known = ", ".join(map(repr, list(names)[:_SHOWN]))
            raise DataError(
                f"{path}: the new label {label!r} of id {name!r} is none of the {len(names)} classes ({known}, ...); "
                "correct it there, or give class_names= with it"
            )
        changed[row_of[name]] = code_of[label]
    return changed, int((changed != labels).sum())
