"""The one place where tables are written as Parquet."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from torchviz_layers._common.arrays import Array
from torchviz_layers.exceptions import MissingDependencyError


def write_parquet(columns: Mapping[str, Array | Sequence[Any]], path: Path) -> None:
    """Write columns of the same length to a Parquet file.

    Raises
    ------
    MissingDependencyError
        If pyarrow is not installed.
    """
    try:
        import pyarrow as pa
        import pyarrow.parquet as pq
    except ImportError as problem:
        raise MissingDependencyError("pyarrow", "parquet", "a .parquet file") from problem
    pq.write_table(pa.table({name: pa.array(values) for name, values in columns.items()}), path)
