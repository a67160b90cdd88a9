"""A Zarr v3 group that is written in whole chunks, so that it is readable and resumable at any moment.

There is one array for each layer, and one for each of `ids`, `targets` and `predictions`. All have chunks of the same
number of rows. A chunk of `ids` is written after the same chunk of all other arrays, and every file appears by
renaming: if the file of the `ids` exists, the chunk is stored. Nothing else records the progress, so that a process may
be killed at any moment.
"""

from __future__ import annotations

import hashlib
import json
import re
import shutil
import weakref
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from torchviz_layers._common.files import atomic_write
from torchviz_layers.exceptions import StoreError
from torchviz_layers.extraction.columns import fill_value

KEY = "torchviz_layers"
FORMAT = 1
_LONGEST = 200  # bytes of an array's name, which is a folder: file systems allow 255
EXTRAS = ("ids", "targets", "predictions", "thumbnails")


class Store:
    """A store that is open for writing."""

    def __init__(self, path: Path, group: Any, header: dict[str, Any]) -> None:
        self.path, self.group, self.header = path, group, header
        self.arrays: dict[str, Any] = {}
        self.shared = False
        """Other processes write to it too: no array can be added any more."""

    @classmethod
    def create(cls, path: Path, header: Mapping[str, Any]) -> Store:
        """Make an empty store at `path`; raise `StoreError` if something is there or it cannot be written."""
        import zarr

        if path.exists() and (not path.is_dir() or any(path.iterdir())):
            raise StoreError(f"{path}: exists already; pass resume=True (--resume) to continue it, or another path")
        with writing(path):
            group = zarr.open_group(str(path), mode="a", zarr_format=3)
        store = cls(path, group, {"format": FORMAT, "complete": False, "layers": {}, **header})
        store.write_header()
        return store

    @classmethod
    def reopen(cls, path: Path) -> Store:
        """Open a store to continue it."""
        group = open_group(path, mode="r+")
        store = cls(path, group, dict(read_header(path, group)))
        for name in (*store.header["layers"].values(), *EXTRAS):
            if name in group:
                store.arrays[name] = group[name]
        return store

    @property
    def chunk_rows(self) -> int:
        """Rows in a chunk."""
        return int(self.header["chunk_rows"])

    def chunks(self, start: int, stop: int) -> range:
        """Return the chunks that contain rows `start` to `stop`."""
        return range(start // self.chunk_rows, (stop - 1) // self.chunk_rows + 1)

    def write_header(self, **changes: Any) -> None:
        """Write the header, with these entries changed."""
        self.header.update(changes)
        with writing(self.path):
            self.group.attrs[KEY] = self.header

    def has(self, name: str, *, layer: bool) -> bool:
        """Whether there is an array of this layer (or of this extra)."""
        return name in self.header["layers"] if layer else name in self.arrays

    def array(
        self, name: str, *, layer: bool, shape: tuple[int, ...], dtype: np.dtype[Any], rows: int, fill: Any = None
    ) -> Any:
        """Return the array of a layer (or of an extra), made if it is not there yet.

        `fill` is read where nothing is written; default: NaN, or 0 in types without it.
        """
        key = self.key_of(name) if layer else name
        if key in self.arrays:
            return self.arrays[key]
        if self.shared:
            raise StoreError(
                f"{self.path}: {name!r} ran for the first time after the first batch, and several processes share the "
                "store; choose layers that always run, or use one process"
            )
        from zarr.codecs import Crc32cCodec

        # One chunk along all axes but that of the samples. Empty chunks are written too: a file that does not exist
        # means that rows are not stored.
        text = dtype.kind in "TU"
        with writing(self.path), _storable(name, dtype):
            self.arrays[key] = self.group.create_array(
                key,
                shape=(rows, *shape),
                chunks=(self.chunk_rows, *(max(extent, 1) for extent in shape)),
                dtype=str if text else dtype,
                fill_value="" if text else fill_value(dtype) if fill is None else dtype.type(fill),
                compressors=[Crc32cCodec()],  # a checksum: bytes that were changed later are found
                dimension_names=("sample", *(f"{key}_{axis}" for axis in range(1, len(shape) + 1))),
                attributes={"layer": name} if layer else {},
                config={"write_empty_chunks": True},
            )
        if layer:
            self.write_header(layers={**self.header["layers"], name: key})
        return self.arrays[key]

    def drop(self, layer: str, why: str) -> bool:
        """Remove a layer's array and note the reason; return False where other processes write to it."""
        if self.shared:
            return False
        layers = dict(self.header["layers"])
        key = layers.pop(layer, None)
        skipped, dropped = {**self.header["skipped"], layer: why}, {**self.header.get("dropped", {}), layer: why}
        # The header first: a process that is killed then leaves an array that nobody reads.
        self.write_header(layers=layers, skipped=skipped, dropped=dropped)
        if key is not None:
            self.arrays.pop(key, None)
            with writing(self.path):
                del self.group[key]
        return True

    def key_of(self, layer: str) -> str:
        """Return the name of a layer's array: its own name, made fit for a file."""
        known: dict[str, str] = self.header["layers"]
        if layer in known:
            return known[layer]
        key = re.sub(r"[^\w.-]", "_", layer) or "model"
        if len(key.encode()) > _LONGEST:
            key = f"{key[: _LONGEST // 4]}-{hashlib.sha256(layer.encode()).hexdigest()[:16]}"
        # Other layers may have the same key, and some names mean something else to Zarr or to the file system.
        while key in known.values() or key in EXTRAS or key.startswith("__") or not key.strip("."):
            key = f"layer_{key}"
        return key

    def write(self, array: Any, start: int, rows: npt.NDArray[Any]) -> None:
        """Write rows that begin at a chunk's first row."""
        with writing(self.path):
            # Rows may be wider than those before (`ragged="pad"`), or more than was known beforehand.
            shape = tuple(max(old, new) for old, new in zip(array.shape[1:], rows.shape[1:], strict=True))
            if start + len(rows) > array.shape[0] or shape != array.shape[1:]:
                array.resize((max(array.shape[0], start + len(rows)), *shape))
            array[(slice(start, start + len(rows)), *(slice(extent) for extent in rows.shape[1:]))] = rows

    def done(self) -> tuple[int, ...]:
        """Return the chunks that are stored, in order; remove what was stored in part."""
        with writing(self.path):
            # A killed process leaves files (Zarr's) and folders (`atomic_write`'s) of what it was writing.
            for left in list(self.path.rglob("*.partial")):
                if left.is_dir():
                    discard(left)
                else:
                    left.unlink()
        # A chunk that is not full counts as missing: it is run again as a whole.
        partial = self.header.get("partial")
        if partial:
            with writing(self.path):
                chunk_file(self.path, partial["chunk"]).unlink(missing_ok=True)
            self.write_header(partial=None)
        folder = self.path / "ids" / "c"
        if not folder.is_dir():
            return ()
        return tuple(sorted(int(file.name) for file in folder.iterdir() if file.name.isdecimal()))

    def write_missing(self, name: str, runs: Mapping[str, list[list[int]]]) -> None:
        """Record rows that are missing, in a file of its own: no two processes write to the same one."""
        target = self.path / "ids" / "missing" / f"{name}.json"
        with writing(self.path):
            if runs:
                target.parent.mkdir(parents=True, exist_ok=True)
                with atomic_write(target) as temporary:
                    temporary.write_text(json.dumps(runs))
            else:
                target.unlink(missing_ok=True)

    def finish(self, rows: int, **provenance: Any) -> None:
        """Cut the arrays to `rows` rows and mark the store as complete, with these entries added to its provenance."""
        with writing(self.path):
            for array in self.arrays.values():
                if array.shape[0] != rows:
                    array.resize((rows, *array.shape[1:]))
        known = {**self.header["provenance"], **provenance}
        self.write_header(rows=rows, complete=True, partial=None, provenance=known)


def missing_runs(path: Path) -> dict[str, list[list[int]]]:
    """Return the runs of rows that layers did not run for."""
    found: dict[str, list[list[int]]] = {}
    for file in sorted((path / "ids" / "missing").glob("*.json")):
        for layer, runs in json.loads(file.read_text()).items():
            found.setdefault(layer, []).extend(runs)
    return found


def chunk_file(path: Path, chunk: int) -> Path:
    """Return the file whose existence means that a chunk is stored."""
    return path / "ids" / "c" / str(chunk)


def stored_rows(path: Path, header: Mapping[str, Any], total: int) -> int:
    """Return how many rows are stored without a gap, from the first one."""
    if header["complete"]:
        return total
    partial, chunk = header.get("partial"), 0
    # Several processes leave gaps: rows after the first one are not counted.
    while chunk_file(path, chunk).exists():
        if partial and partial["chunk"] == chunk:
            return int(partial["rows"])
        chunk += 1
    return min(chunk * int(header["chunk_rows"]), total)


def open_group(path: Path, mode: str = "r") -> Any:
    """Open a store's group; raise `StoreError` if there is none."""
    import zarr

    if not (path / "zarr.json").is_file():
        raise StoreError(f"{path}: no stored activations there; extract(..., out={str(path)!r}) or .save() makes them")
    try:
        return zarr.open_group(str(path), mode=mode)
    except (OSError, ValueError) as error:
        raise StoreError(f"{path}: cannot be read as a Zarr group: {error}") from error


def read_header(path: Path, group: Any) -> dict[str, Any]:
    """Return the header of a store; raise `StoreError` for a group that is not ours."""
    header = group.attrs.get(KEY)
    if not isinstance(header, dict):
        raise StoreError(f"{path}: a Zarr group, but not of activations: it has no attribute {KEY!r}")
    if header.get("format") != FORMAT:
        raise StoreError(f"{path}: written in format {header.get('format')}, this version reads format {FORMAT}")
    return header


def check_same(store: Store, now: Mapping[str, Any]) -> None:
    """Raise `StoreError` if a store was made with another model, other data or other settings than `now`."""
    before = store.header["provenance"]
    for what, key in (("another model", "model_fingerprint"), ("other data", "data_fingerprint")):
        if before.get(key) != now[key]:
            raise StoreError(f"{store.path}: holds activations of {what}; give another path, or remove it")
    differ = [name for name, value in now["settings"].items() if before["settings"].get(name) != value]
    if differ:
        spelled = ", ".join(
            f"{name}={before['settings'].get(name)!r} (now {now['settings'][name]!r})" for name in differ
        )
        raise StoreError(f"{store.path}: was made with {spelled}; give another path, or remove it")


def discard_with(readers: Iterable[Any], path: Path) -> None:
    """Remove a store once none of its readers is left in memory."""
    alive = {id(reader): reader for reader in readers if hasattr(reader, "__weakref__")}
    waiting_for = set(alive)

    def forget(reader: int) -> None:
        waiting_for.discard(reader)
        if not waiting_for:
            discard(path)

    # `finalize` must not refer to the reader itself, which would never be freed then.
    for number, reader in alive.items():
        weakref.finalize(reader, forget, number)


def discard(path: Path) -> None:
    """Remove a temporary store."""
    shutil.rmtree(path, ignore_errors=True)


@contextmanager
def writing(path: Path) -> Iterator[None]:
    """Turn failures of the file system into a `StoreError`."""
    try:
        yield
    except OSError as error:
        why = error.strerror or str(error)
        raise StoreError(f"{path}: cannot be written: {why}; what was stored before stays readable") from error


@contextmanager
def _storable(name: str, dtype: np.dtype[Any]) -> Iterator[None]:
    try:
        yield
    except (ValueError, TypeError) as error:
        raise StoreError(f"{name!r}: Zarr has no type for {dtype}") from error
