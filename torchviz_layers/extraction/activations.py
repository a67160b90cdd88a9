"""The outputs of layers: one array a layer, in memory or in a Zarr store, rows in the order of the samples."""

from __future__ import annotations

import difflib
import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from torchviz_layers._common.arrays import as_numpy
from torchviz_layers._common.memory import format_bytes
from torchviz_layers.exceptions import DataError, UnknownLayerError
from torchviz_layers.extraction.damage import StoredArray, check_whole, reading
from torchviz_layers.extraction.export import export_file, nbytes, save_group
from torchviz_layers.extraction.missing import mask_of, runs_of
from torchviz_layers.extraction.store import EXTRAS, missing_runs, open_group, read_header, stored_rows

_SCAN_ROWS = 65536  # rows read at a time when all are scanned
_MOST_SKIPPED = 3  # shown by `repr`


class Activations(Mapping[str, Any]):
    """A mapping from layer name to array of shape (n_samples, ...), in order of execution.

    Parameters
    ----------
    arrays : mapping of str to array
        NumPy arrays, Zarr arrays, or tensors on a device; the same number of rows each.
    ids : array of shape (n_samples,), optional
        What identifies each sample, int64 or str; default: 0, 1, 2, ...
    targets : array of shape (n_samples,), optional
        The true classes or values.
    predictions : array of shape (n_samples, n_outputs), optional
        The model's final output as it came.
    thumbnails : array of shape (n_samples, height, width, channels), optional
        uint8 pictures of the samples.
    provenance : mapping, optional
        Model and data fingerprints, versions, settings.
    missing : mapping of layer to boolean array of shape (n_samples,), optional
        Samples that a layer did not run for; their rows are NaN (0 in integer arrays).
    skipped : mapping of layer to str, optional
        Layers that were chosen by a pattern or by default and gave no rows, with the reason.
    path : path, optional
        The store that the arrays are in.
    complete : bool
        False for what an interrupted extraction has stored so far.

    Examples
    --------
    >>> acts = Activations({"dense": np.zeros((3, 2), np.float32)})
    >>> acts["dense"].shape, len(acts.ids)
    ((3, 2), 3)
    """

    def __init__(
        self,
        arrays: Mapping[str, Any],
        *,
        ids: npt.ArrayLike | None = None,
        targets: npt.ArrayLike | None = None,
        predictions: Any = None,
        thumbnails: Any = None,
        provenance: Mapping[str, Any] | None = None,
        missing: Mapping[str, npt.NDArray[np.bool_]] | None = None,
        skipped: Mapping[str, str] | None = None,
        path: str | os.PathLike[str] | None = None,
        complete: bool = True,
    ) -> None:
        self._arrays = dict(arrays)
        if ids is None:
            ids = np.arange(next((int(array.shape[0]) for array in self._arrays.values()), 0))
        self.ids = np.asarray(ids)
        self.targets = None if targets is None else np.asarray(targets)
        self.predictions = predictions
        self.thumbnails = thumbnails
        self.provenance = dict(provenance or {})
        self.missing = dict(missing or {})
        self.skipped = dict(skipped or {})
        self.path = None if path is None else Path(path)
        self.complete = complete
        for name, array in self._arrays.items():
            if array.shape[0] != len(self.ids):
                raise DataError(f"{name!r}: {array.shape[0]} rows of {len(self.ids)} samples")

    def __getitem__(self, layer: str | int) -> Any:
        if isinstance(layer, int):
            if not -len(self) <= layer < len(self):
                raise UnknownLayerError(f"layer index {layer} is out of range: there are {len(self)} layers")
            return self._arrays[self.layers[layer]]
        # The first call of a layer is recorded without ":0".
        name = layer if layer in self._arrays else layer.removesuffix(":0")
        if name not in self._arrays:
            raise UnknownLayerError(self._why_not(layer))
        return self._arrays[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._arrays)

    def __len__(self) -> int:
        return len(self._arrays)

    @property
    def layers(self) -> tuple[str, ...]:
        """Names of the layers, in order of execution."""
        return tuple(self._arrays)

    @property
    def n_samples(self) -> int:
        """Number of samples."""
        return len(self.ids)

    @property
    def nbytes(self) -> int:
        """Bytes of all layers' arrays."""
        return sum(nbytes(array) for array in self._arrays.values())

    def __repr__(self) -> str:
        where = f"in {self.path}" if self.path is not None else "in memory"
        state = "" if self.complete else ", incomplete"
        head = (
            f"Activations: {self.n_samples:,} samples, {len(self)} layers, {format_bytes(self.nbytes)} {where}{state}"
        )
        width = max((len(name or "(model)") for name in self), default=0)
        lines = [self._line(name, width) for name in self]
        skipped = [f"  skipped: {name or '(model)'}: {reason}" for name, reason in self.skipped.items()]
        if len(skipped) > _MOST_SKIPPED:
            skipped[_MOST_SKIPPED:] = [f"  skipped: {len(skipped) - _MOST_SKIPPED} more, see .skipped"]
        return "\n".join([head, *lines, *skipped])

    def _line(self, name: str, width: int) -> str:
        """Return the line of `repr` for one layer."""
        array = self._arrays[name]
        shape = " x ".join(f"{extent:,}" for extent in array.shape)
        dtype = str(array.dtype).removeprefix("torch.")
        missing = f"  {int(self.missing[name].sum()):,} rows missing" if name in self.missing else ""
        return f"  {(name or '(model)').ljust(width)}  {shape}  {dtype}{missing}"

    def nonfinite(self) -> dict[str, npt.NDArray[Any]]:
        """Return the ids of the samples whose rows contain NaN or infinity, for each layer that has such rows.

        Rows that a layer did not run for (`missing`) don't count. Everything is read once, in blocks.
        """
        found = {}
        for layer, array in self._arrays.items():
            bad = np.zeros(self.n_samples, bool)
            for start in range(0, self.n_samples, _SCAN_ROWS):
                block = as_numpy(array[start : start + _SCAN_ROWS])
                if block.dtype.kind in "fc":
                    bad[start : start + len(block)] = ~np.isfinite(block).reshape(len(block), -1).all(1)
            bad &= ~self.missing.get(layer, np.zeros(self.n_samples, bool))
            if bad.any():
                found[layer] = self.ids[bad]
        return found

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write everything to a Zarr v3 group at `path` that `load`, xarray, Dask and zarr open.

        Raises
        ------
        StoreError
            There is something at `path` already, or it cannot be written.
        """
        header = {"rows": self.n_samples, "provenance": self.provenance, "skipped": self.skipped}
        missing = {layer: runs_of(rows) for layer, rows in self.missing.items()}
        save_group(Path(path), self._arrays, self._extras(), missing, header)

    def _extras(self) -> dict[str, Any]:
        """Return the arrays that there are beside the layers; `ids` last, as a store is written in that order."""
        return {name: getattr(self, name) for name in reversed(EXTRAS) if getattr(self, name) is not None}

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> Activations:
        """Open stored activations; layers are Zarr arrays, read as they are indexed.

        Of a store that is not complete the rows stored so far are read (`complete` is False then).

        Raises
        ------
        StoreError
            There are no stored activations at `path`, or some of their files are not there.
        """
        source = Path(path)
        group = open_group(source)
        header = read_header(source, group)
        with reading(source):
            return cls._of(source, group, header)

    @classmethod
    def _of(cls, source: Path, group: Any, header: dict[str, Any]) -> Activations:
        complete = bool(header["complete"])
        # An extraction that ended early may not have made the array of ids.
        total = group["ids"].shape[0] if complete or "ids" in group else 0
        rows = stored_rows(source, header, total)
        missing = missing_runs(source)
        check_whole(source, group, header, rows, missing)

        # Rows after the first gap are not shown. Layers of a complete store stay on disk until they are indexed.
        def read(key: str, name: str, *, whole: bool) -> Any:
            array = StoredArray(group[key], source, name)
            return array if whole else array[:rows]

        arrays = {}
        for layer, key in header["layers"].items():
            if complete or group[key].shape[0] >= rows:
                arrays[layer] = read(key, layer, whole=complete)
        extras = {name: read(name, name, whole=complete and name == "thumbnails") for name in EXTRAS if name in group}
        ids = extras.pop("ids", np.empty(0, np.int64))
        # A layer that gave no rows in the first batch may have given some later.
        skipped = {name: why for name, why in header.get("skipped", {}).items() if name not in header["layers"]}
        return cls(
            arrays,
            ids=plain_ids(ids),
            provenance=header["provenance"],
            missing={layer: mask_of(runs, rows) for layer, runs in missing.items()},
            skipped=skipped,
            path=source,
            complete=complete,
            **extras,
        )

    def export(self, path: str | os.PathLike[str]) -> None:
        """Write the layers, ids, targets and predictions to one `.safetensors` or `.npz` file.

        Everything is brought into memory; text (ids or targets) goes to `.npz` only.

        Raises
        ------
        StoreError
            The name ends in something else, or the file cannot be written.
        """
        export_file(Path(path), self._arrays, self._extras())

    def _why_not(self, layer: str) -> str:
        if layer in self.skipped:
            return f"{layer!r} gave no rows: {self.skipped[layer]}"
        close = difflib.get_close_matches(layer, self.layers, n=3, cutoff=0.6)
        hint = f"did you mean {' or '.join(map(repr, close))}? " if close else ""
        return f"no activations of {layer!r}; {hint}there are those of {', '.join(self.layers[:8])}"


def plain_ids(ids: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """Return ids in a type that every version of NumPy reads."""
    return np.array(ids.tolist(), np.str_) if ids.dtype.kind == "T" else ids
