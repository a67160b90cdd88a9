"""Files of one kind of sample: an array, a table, texts."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np

from torchviz_layers._common.arrays import Array
from torchviz_layers.data.samples import Samples
from torchviz_layers.data.table_files import read_table_file
from torchviz_layers.exceptions import DataError


def load_table(path: Path, targets: str | list[str] | None, columns: list[str] | None = None) -> Samples:
    """Read a table, whose column or columns `targets` have the targets; `columns` are not fed."""
    return Samples.of(read_table_file(path), targets=targets, columns=columns, name=path.stem)


def load_npy(path: Path, targets: str | None) -> Samples:
    """Read an array; `targets` is another such file."""
    labels = None
    if targets is not None:
        if Path(targets).suffix.lower() != ".npy":
            raise DataError(f"targets={targets!r}: of {path.name} they are another .npy file, labels.npy say")
        labels = _read_npy(Path(targets).expanduser())
    return Samples.of(_read_npy(path), targets=labels, name=path.stem)


def load_texts(path: Path) -> Samples:
    """Read a text file with a sample a line; empty lines are left out."""
    lines = [line.strip() for line in _lines_of(path)]
    texts = [line for line in lines if line]
    if not texts:
        raise DataError(f"{path} is empty; a sample a line is expected")
    return Samples.of(texts, name=path.stem)


def load_json_lines(path: Path, targets: str | None) -> Samples:
    """Read a file with a JSON object a line, {"text": ..., "label": ...} say; `targets` is the key of the targets."""
    items: list[Any] = []
    for number, line in enumerate(_lines_of(path), start=1):
        if not line.strip():
            continue
        try:
            items.append(json.loads(line))
        except ValueError as problem:
            raise DataError(f"{path}, line {number}: {problem}; a JSON object a line is expected") from problem
    if not items:
        raise DataError(f'{path} is empty; a JSON object a line is expected, {{"text": "...", "label": 1}} say')
    return Samples.of(items, targets=targets, name=path.stem)


def _read_npy(path: Path) -> Array:
    try:
        with path.open("rb") as file:
            # `np.load` takes any other file for a pickle, and its message recommends `allow_pickle`.
            array: Array = np.lib.format.read_array(file, allow_pickle=False)
    except (OSError, ValueError, EOFError) as problem:
        reason = getattr(problem, "strerror", None) or str(problem)
        raise DataError(f"{path} cannot be read: {reason}; an array that np.save wrote is expected") from problem
    return array


def _lines_of(path: Path) -> list[str]:
    try:
        return path.read_text(encoding="utf-8-sig").splitlines()
    except (OSError, UnicodeDecodeError) as problem:
        reason = getattr(problem, "strerror", None) or str(problem)
        raise DataError(f"{path} cannot be read: {reason}; text in UTF-8 is expected") from problem
