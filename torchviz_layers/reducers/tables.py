"""Embeddings as one table, a row a sample: for embedding-atlas, pandas, DuckDB and whatever else reads columns."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from torchviz_layers._common.files import atomic_write
from torchviz_layers._common.parquet import write_parquet
from torchviz_layers._common.predictions import predicted_classes
from torchviz_layers.exceptions import StoreError

if TYPE_CHECKING:
    from torchviz_layers.extraction import Activations
    from torchviz_layers.reducers.embedding import Embedding


def check_target(path: Path) -> None:
    """Raise `StoreError` if embeddings cannot be written to this path, before the work is done."""
    if path.suffix not in (".parquet", ".npz", ".zarr"):
        raise StoreError(f"{path}: embeddings are written to .parquet, .npz or .zarr")
    if path.is_dir() if path.suffix != ".zarr" else path.exists():
        raise StoreError(f"{path}: exists already; give another path, or remove it")


def write_embeddings(embeddings: Mapping[str, Embedding], activations: Activations, path: str | Path) -> Path:
    """Write embeddings of stored activations to a `.parquet` or `.npz` table or a `.zarr` store; return the path.

    The store is one that `Activations.load` opens: an array (n_samples, n_components) a layer, with the ids, targets
    and predictions.

    Raises
    ------
    StoreError
        If the name ends in something else, the store exists already, or the path cannot be written.
    MissingDependencyError
        If a Parquet file is asked for without pyarrow.
    """
    path = Path(path)
    if path.suffix != ".zarr":
        return write_table(embedding_columns(embeddings, activations), path)
    made_by = {name: {"engine": e.engine, "reason": e.reason} for name, e in embeddings.items()}
    made = type(activations)(
        {name: e.Z for name, e in embeddings.items()},
        ids=activations.ids,
        targets=activations.targets,
        predictions=activations.predictions,
        provenance={**activations.provenance, "embedded": made_by},
    )
    _save_whole(made, path)
    return path


def _save_whole(activations: Activations, path: Path) -> None:
    """Save a store, so that a failure or Ctrl-C leaves no incomplete one."""
    check_target(path)
    temporary = path
    try:
        with atomic_write(path) as temporary:
            activations.save(temporary)
    except OSError as problem:
        raise StoreError(f"{path} cannot be written: {problem.strerror or problem}") from problem
    except StoreError as problem:
        raise StoreError(str(problem).replace(str(temporary), str(path))) from problem


def embedding_columns(
    embeddings: Mapping[str, Embedding], activations: Activations | None = None
) -> dict[str, np.ndarray]:
    """Return the columns of the table: `id`, `target`, `prediction` where known, then `LAYER.x`, `LAYER.y`.

    More than two components are `LAYER.0`, `LAYER.1` and so on. All columns have shape (n_samples,).

    Examples
    --------
    >>> from torchviz_layers import embed
    >>> list(embedding_columns(embed({"dense": np.eye(20, dtype=np.float32)}, reducer="pca")))
    ['id', 'dense.x', 'dense.y']
    """
    n = len(next(iter(embeddings.values())).Z)
    columns = {"id": np.arange(n) if activations is None else activations.ids}
    if activations is not None and activations.targets is not None:
        columns["target"] = activations.targets
    if activations is not None and (classes := predicted_classes(activations.predictions)) is not None:
        columns["prediction"] = classes
    for layer, embedding in embeddings.items():
        width = embedding.Z.shape[1]
        names = "xy"[:width] if width <= 2 else range(width)
        columns |= {f"{layer}.{name}": embedding.Z[:, k] for k, name in enumerate(names)}
    return columns


def write_table(columns: Mapping[str, np.ndarray], path: str | Path) -> Path:
    """Write columns to a `.parquet` or `.npz` file, whole or not at all; return the path.

    Raises
    ------
    StoreError
        If the name ends in something else, or the file cannot be written.
    MissingDependencyError
        If a Parquet file is asked for without pyarrow.
    """
    path = Path(path)
    if path.suffix not in (".parquet", ".npz"):
        raise StoreError(f"{path}: a table is written to .parquet or .npz")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with atomic_write(path) as temporary:
            if path.suffix == ".npz":
                np.savez_compressed(temporary, **columns)  # type: ignore[arg-type] # no column is called allow_pickle
            else:
                write_parquet(columns, temporary)
    except OSError as problem:
        raise StoreError(f"{path} cannot be written: {problem.strerror or problem}") from problem
    return path
