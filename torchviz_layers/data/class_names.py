"""Names that data and models know themselves: of their classes, and of their samples."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
from torch.utils.data import BatchSampler, ConcatDataset, DataLoader, SequentialSampler, Subset

from torchviz_layers._common.arrays import Array
from torchviz_layers._common.files import printable
from torchviz_layers.data.plain_values import described
from torchviz_layers.exceptions import DataError

_DEEPEST = 10  # wrappers in each other; more is a circle
_LABEL_COLUMNS = ("label", "labels", "target", "targets", "class", "y")


def as_class_names(given: Any, name: str = "samples") -> tuple[str, ...]:
    """Return the names that a caller gives as a tuple of text, in the order of the network's outputs.

    `given` is a sequence or an array of names, or a mapping between numbers from 0 and names, in either direction; None
    and an empty one give ().

    Raises
    ------
    DataError
        If it is none of these.
    """
    if given is None:
        return ()
    names = _in_order(given) if isinstance(given, Mapping) else None
    if isinstance(given, Iterable) and not isinstance(given, (str, bytes, Mapping)):
        with suppress(Exception):  # whatever iterating a caller's object raises
            names = [printable(str(entry)) for entry in given]
    if names is None:
        raise DataError(
            f"{name}: class_names={described(given)}; give the names in the order of the network's outputs, "
            "class_names=['cat', 'dog'] say"
        )
    return tuple(names)


def class_names_of(data: object, column: str | None = None) -> tuple[str, ...]:
    """Return the class names that data knows, in the order of its labels; () where it knows none.

    They are read from `classes`, `class_to_idx` (torchvision) and `features[...].names` (Hugging Face), also of the
    data inside a `Subset`, a `DataLoader` and whatever else has it as `dataset` or `data`; inside a `ConcatDataset`
    where all parts agree.

    Parameters
    ----------
    data
        Any object.
    column
        The column of a Hugging Face dataset that holds the labels. Without it: one called "label" or the like, or the
        only one that has names.
    """
    return _names_inside(data, column, 0)


def class_names_of_model(model: object) -> tuple[str, ...]:
    """Return the names of a Hugging Face model's outputs (`config.id2label`); () where it has none of its own."""
    for wrapper in ("_orig_mod", "module"):  # torch.compile, DataParallel
        model = _attribute(model, wrapper) or model
    names = _in_order(_attribute(_attribute(model, "config"), "id2label"))
    # Every configuration has names; those that nobody gave are LABEL_0, LABEL_1 and so on.
    if not names or all(re.fullmatch(r"LABEL_\d+", name) for name in names):
        return ()
    return tuple(names)


def ids_of(data: object) -> Array | None:
    """Return the files of torchvision's `ImageFolder` and `DatasetFolder`, relative to their root, as text (n,).

    A `Subset`, a `ConcatDataset` and a loader that does not shuffle have those of the data inside. None for other data.
    """
    ids = _ids_inside(data, 0)
    return None if not ids else np.array(ids)


def _names_inside(data: object, column: str | None, depth: int) -> tuple[str, ...]:
    own = _own_names(data, column)
    if own or depth == _DEEPEST:
        return own
    parts = _attribute(data, "datasets")
    if isinstance(parts, (list, tuple)) and parts:
        several = {_names_inside(part, column, depth + 1) for part in parts}
        return several.pop() if len(several) == 1 else ()
    for wrapped in ("dataset", "data"):
        inner = _attribute(data, wrapped)
        if inner is not None and inner is not data:
            names = _names_inside(inner, column, depth + 1)
            if names:
                return names
    return ()


def _own_names(data: object, column: str | None) -> tuple[str, ...]:
    for attribute in ("classes", "class_to_idx"):
        found = _attribute(data, attribute)
        names = _in_order(found) if isinstance(found, Mapping) else _as_names(found)
        if names:
            return tuple(names)
    features = _attribute(data, "features")
    if not isinstance(features, Mapping):
        return ()
    if column is not None:
        return tuple(_feature_names(features.get(column)))
    named = {key: names for key, feature in features.items() if (names := _feature_names(feature))}
    for key in _LABEL_COLUMNS:
        if key in named:
            return tuple(named[key])
    return tuple(next(iter(named.values()))) if len(named) == 1 else ()


def _feature_names(feature: object) -> list[str]:
    """Return the names of a Hugging Face `ClassLabel`, or of a list of them (several labels a sample)."""
    inner = _attribute(feature, "feature")
    return _as_names(_attribute(feature if inner is None else inner, "names"))


def _as_names(found: object) -> list[str]:
    """Return a sequence of text as it is, and of tuples of synonyms (torchvision's ImageNet) the first of each."""
    if isinstance(found, np.ndarray):
        found = found.tolist()
    if not isinstance(found, (list, tuple)):
        return []
    names = [entry[0] if isinstance(entry, tuple) and entry else entry for entry in found]
    return [printable(str(name)) for name in names] if all(isinstance(name, str) for name in names) else []


def _in_order(found: object) -> list[str] | None:
    """Return the names of a mapping between names and numbers 0, 1, 2, ..., in the numbers' order; else None."""
    if not isinstance(found, Mapping) or not found:
        return None
    try:
        pairs = [(int(key), value) for key, value in found.items()]  # {0: "cat"}, also {"0": "cat"} from JSON
    except (TypeError, ValueError):
        pairs = [(value, key) for key, value in found.items()]
    by_number: dict[int, str] = {}
    for number, name in pairs:
        if isinstance(number, (bool, str)) or not isinstance(number, (int, np.integer)):
            return None
        by_number.setdefault(int(number), printable(str(name)))  # of synonyms, the first
    if sorted(by_number) != list(range(len(by_number))):
        return None
    return [by_number[number] for number in sorted(by_number)]


def _ids_inside(data: object, depth: int) -> list[str] | None:
    if depth == _DEEPEST:
        return None
    if isinstance(data, Subset):
        inner = _ids_inside(data.dataset, depth + 1)
        return None if inner is None else [inner[int(index)] for index in data.indices]
    if isinstance(data, ConcatDataset):
        ids: list[str] = []
        for part in data.datasets:
            found = _ids_inside(part, depth + 1)
            if found is None:
                return None
            ids += found
        return ids
    if isinstance(data, DataLoader):
        return _ids_inside(data.dataset, depth + 1) if _has_the_rows_of_its_data(data) else None
    return _files_of(data)


def _has_the_rows_of_its_data(loader: DataLoader[Any]) -> bool:
    """Whether row k of a loader is item k of its dataset, which is more than an order that stays the same."""
    # A loader with a batch sampler of its own also has a sequential `sampler`, which it does not use.
    batches = loader.batch_sampler
    if batches is not None and type(batches) is not BatchSampler:
        return False
    sampler = loader.sampler if batches is None else batches.sampler
    return isinstance(sampler, SequentialSampler)


def _files_of(data: object) -> list[str] | None:
    """Return the paths in `samples`, pairs of a file and a class, relative to the folder `root`."""
    root, pairs = _attribute(data, "root"), _attribute(data, "samples")
    if not isinstance(root, (str, Path)) or not isinstance(pairs, list) or not pairs:
        return None
    files = [pair[0] for pair in pairs if isinstance(pair, tuple) and pair and isinstance(pair[0], (str, Path))]
    if len(files) != len(pairs):
        return None
    return [printable(Path(os.path.relpath(file, root)).as_posix()) for file in files]


def _attribute(thing: object, name: str) -> Any:
    """Return an attribute, or None; a property may raise anything."""
    try:
        return getattr(thing, name, None)
    except Exception:  # the caller's code
        return None
