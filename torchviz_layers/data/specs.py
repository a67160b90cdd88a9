"""What `--data` names: a known name, a folder, a file, or a function of the caller's."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from torchviz_layers._common.caller_code import CallerCode, make_current_folder_importable
from torchviz_layers.data.datasets import ACCEPTED, DATASETS, SUFFIXES, load_dataset
from torchviz_layers.data.samples import Samples
from torchviz_layers.exceptions import DataError

_EXPECTED = f"{ACCEPTED}, or 'package.module:make', a function that returns data"


def parse_data_spec(
    spec: str,
    *,
    targets: str | list[str] | None = None,
    columns: list[str] | None = None,
    limit: int | None = None,
    size: int | None = None,
    download: bool = False,
) -> Samples:
    """Read what the command line names: NAME, NAME:SPLIT, a path, PATH:SPLIT or MODULE:FUNCTION.

    Parameters
    ----------
    spec
        Something that `load_dataset` takes, a split of it after a colon; or `package.module:make`, imported and, if it
        is a function or a class, called: it returns, or is, anything that `Samples.of` takes. The module may be in the
        current folder.
    targets
        Where the targets are: the column of a table, the array of an `.npz` file, the key of items.
        Several columns of a table are several labels a sample.
    columns
        Names of a table's columns of numbers that are shown and not fed.
    limit, size, download
        As in `load_dataset`; the first `limit` samples of a function's data.

    Raises
    ------
    DataError
        If there is no such thing, the function fails, or its content cannot be used.
    """
    options: dict[str, Any] = {"targets": targets, "columns": columns, "limit": limit}
    options |= {"size": size, "download": download}
    # A path may have a colon.
    if spec in DATASETS or Path(spec).expanduser().exists():
        return load_dataset(spec, **options)
    name, colon, part = spec.rpartition(":")
    if not colon:
        return load_dataset(spec, **options)  # whose errors say what is missing
    path = Path(name).expanduser()
    # A folder may be a package of the caller's.
    is_data = path.exists() and ((path / part).is_dir() or not (path / "__init__.py").is_file())
    if name in DATASETS or (name and is_data):
        return load_dataset(name, split=part, **options)
    if path.suffix.lower() in SUFFIXES:
        raise DataError(f"{spec!r}: there is no {name}; expected {_EXPECTED}")
    data = _made_by(spec)
    try:
        own_name = None if isinstance(data, Samples) else part
        return Samples.of(data, targets=targets, columns=columns, limit=limit, name=own_name)
    except DataError as problem:
        raise DataError(f"data {spec!r}: {problem}") from problem


def _made_by(spec: str) -> Any:
    """Return what a name in a module of the caller's is, or what it returns if it is a function or a class."""
    make_current_folder_importable()
    code = CallerCode(spec, "data", DataError, _EXPECTED)
    found = code.find()
    # Some datasets can be called, too; they are taken as they are.
    if isinstance(found, type) or (callable(found) and not hasattr(found, "__getitem__")):
        found = code.run(found)
        if found is None:
            raise DataError(
                f"data {spec!r} returned None; it must return data: a Dataset, a loader, arrays, (X, y), ..."
            )
    return found
