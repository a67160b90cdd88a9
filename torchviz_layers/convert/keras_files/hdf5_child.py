"""Reads a Keras file in a process of its own and writes its content to standard output. A script, never imported.

A damaged HDF5 file can crash or hang the HDF5 library. Here that ends a process with nothing else in it. The output
is a header (8 bytes of length, then JSON) and the raw bytes of the arrays in the header's order; none of it is code.

    python -I hdf5_child.py FILE BYTES_OF_MEMORY SECONDS_OF_CPU FOLDER...

Libraries are imported from the given folders, the module path of the parent process: this process is isolated (`-I`)
and would not find all of them by itself.
"""

from __future__ import annotations

import io
import json
import os
import sys
import zipfile
from collections.abc import Iterable
from typing import Any, BinaryIO

sys.path[:] = sys.argv[4:]
os.environ["OPENBLAS_NUM_THREADS"] = "1"  # unused threads would count against the memory limit
import h5py  # noqa: E402 - the two lines above come first
import numpy as np  # noqa: E402

MAX_DEPTH = 40
MAX_OBJECTS = 200_000
MAX_CONFIG_BYTES = 64 * 2**20
MAX_EXPANSION = 64  # an archive or a compressed array that unpacks to more than this multiple of the file is refused
SMALL = 64 * 2**20  # ... unless all of it is small
PARTS = ("config.json", "metadata.json", "model.weights.h5")  # of a .keras archive
NOT_WEIGHTS = ("optimizer_weights", "optimizer", "training_config")


class Refused(Exception):  # noqa: N818 - a refusal, not a fault of this program
    """The file is not sound, or asks for something that no Keras file needs."""


def limit(n_bytes: int, seconds: int) -> None:
    """Limit this process's memory and processor time; it dies where it exceeds them (not on Windows)."""
    try:
        import resource
    except ImportError:
        return
    resource.setrlimit(resource.RLIMIT_AS, (n_bytes, n_bytes))
    resource.setrlimit(resource.RLIMIT_CPU, (seconds, seconds))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))


def text(value: Any) -> str:
    """Return an HDF5 string, whichever way it was stored."""
    return value.decode("utf-8", "replace") if isinstance(value, bytes) else str(value)


def strings(attributes: Any, name: str) -> list[str] | None:
    """Return a list of strings; Keras splits one over 64 kB into `name0`, `name1`, ..."""
    if name in attributes:
        return [text(value) for value in attributes[name]]
    found: list[str] = []
    index = 0
    while f"{name}{index}" in attributes:
        found += [text(value) for value in attributes[f"{name}{index}"]]
        index += 1
    return found if index else None


def find_arrays(root: Any) -> dict[str, Any]:
    """Return every data set below a group by its path; links out of the file and cycles are refused."""
    found: dict[str, Any] = {}
    seen = {h5py.h5o.get_info(root.id).addr}
    pending = [("", root, 0)]
    while pending:
        prefix, group, depth = pending.pop()
        if depth > MAX_DEPTH:
            raise Refused(f"its groups are nested more than {MAX_DEPTH} deep")
        for name in group:
            path = f"{prefix}{name}"
            if not prefix and name in NOT_WEIGHTS:
                continue
            link = group.get(name, getlink=True)
            if not isinstance(link, h5py.HardLink):
                raise Refused(
                    f"{path!r} is a link ({type(link).__name__}) to {getattr(link, 'filename', 'another file')!r}"
                )
            child = group[name]
            if isinstance(child, h5py.Dataset):
                found[path] = checked(child, path)
            elif isinstance(child, h5py.Group):
                address = h5py.h5o.get_info(child.id).addr
                if address in seen:
                    raise Refused(f"group {path!r} appears twice or contains itself")
                seen.add(address)
                pending.append((f"{path}/", child, depth + 1))
            if len(found) + len(seen) > MAX_OBJECTS:
                raise Refused(f"it holds more than {MAX_OBJECTS} objects")
    return found


def checked(dataset: Any, path: str) -> Any:
    """Return the data set if it is an array of numbers inside this file."""
    if dataset.external:
        raise Refused(f"array {path!r} is stored in another file: {dataset.external[0][0]!r}")
    if dataset.is_virtual:
        raise Refused(f"array {path!r} is a view of other files")
    if dataset.dtype.kind not in "biuf" and not is_bfloat16(dataset):
        raise Refused(f"array {path!r} holds {dataset.dtype}, not numbers")
    return dataset


def is_bfloat16(dataset: Any) -> bool:
    """Return whether a data set holds bfloat16, which HDF5 lacks: `.keras` files say so, `.h5` files have raw bits."""
    return text(dataset.attrs.get("dtype", "")) == "bfloat16" or dataset.dtype == np.dtype("V2")


def numbers(dataset: Any) -> np.ndarray:
    """Read a data set; the 16 bits of bfloat16 become float32."""
    if is_bfloat16(dataset) and dataset.dtype.itemsize == 2:
        # bfloat16 is the upper half of a float32
        return (np.asarray(dataset[()]).view(np.uint16).astype(np.uint32) << 16).view(np.float32)
    values = np.asarray(dataset[()])
    return np.ascontiguousarray(values, dtype=values.dtype.newbyteorder("<")).reshape(dataset.shape)


def legacy_order(weights: Any) -> dict[str, list[str]]:
    """Return each layer's array paths in the order of Keras 1 and 2, missing ones included."""
    order: dict[str, list[str]] = {}
    # The file lists the layers, and each layer's group lists the layer's arrays.
    for layer in strings(weights.attrs, "layer_names") or []:
        if layer not in weights:
            raise Refused(f"layer {layer!r} is listed, but the file has no group of that name")
        names = strings(weights[layer].attrs, "weight_names") or []
        order[layer] = [f"{layer}/{name}" for name in names]
    return order


def read_hdf5(source: Any, is_archive: bool, size: int) -> tuple[dict[str, Any], list[Any]]:
    """Return the header and the data sets of an HDF5 file."""
    file = h5py.File(source, "r")
    header: dict[str, Any] = {"config": None, "order": None, "keras_version": "", "backend": "", "group_names": {}}
    weights = file
    if not is_archive:
        find_arrays(file)  # refuses links before any path is followed
        header["config"] = text(file.attrs["model_config"]) if "model_config" in file.attrs else None
        weights = file.get("model_weights", file)
        for name in ("keras_version", "backend"):
            header[name] = text(file.attrs.get(name, weights.attrs.get(name, "")))
        header["order"] = legacy_order(weights)
    arrays = find_arrays(weights)
    if is_archive:
        header["group_names"] = group_names(weights, arrays)
    header["top"] = sorted(weights)[:50]
    total = 0
    for dataset in arrays.values():
        # Python's integers: a hostile shape must not overflow
        total += int(np.prod(dataset.shape, dtype=object)) * dataset.dtype.itemsize
    if total > max(SMALL, MAX_EXPANSION * size):
        raise Refused(f"it declares {total:,} bytes of arrays in a file of {size:,} bytes")
    header["arrays"] = [describe(path, dataset) for path, dataset in arrays.items()]
    return header, list(arrays.values())


def group_names(weights: Any, paths: Iterable[str]) -> dict[str, str]:
    """Return the names that Keras 3.6 and later give to the groups of layers that hold arrays."""
    groups = {path.rpartition("/")[0] for path in paths} - {""}
    return {path: text(weights[path].attrs["name"]) for path in sorted(groups) if "name" in weights[path].attrs}


def describe(path: str, dataset: Any) -> list[Any]:
    """Return an array's path, type and shape as the header gives them."""
    kind = "<f4" if is_bfloat16(dataset) else dataset.dtype.newbyteorder("<").str
    return [path, kind, list(dataset.shape)]


def read_archive(path: str, size: int) -> tuple[dict[str, Any], list[Any]]:
    """Return the header and the data sets of a `.keras` archive."""
    with zipfile.ZipFile(path) as archive:
        entries = {entry.filename.replace("\\", "/"): entry for entry in archive.infolist()}
        for name, entry in entries.items():
            if name.startswith("/") or ":" in name or ".." in name.split("/"):
                raise Refused(f"its entry {entry.filename!r} is outside the archive")
        if sum(entry.file_size for entry in entries.values()) > max(SMALL, MAX_EXPANSION * size):
            raise Refused("it unpacks to far more than its size")
        folder = folder_of(entries)
        parts = {}
        for name in PARTS:
            part = entries.get(folder + name)
            if part is not None and (name.endswith(".h5") or part.file_size <= MAX_CONFIG_BYTES):
                parts[name] = archive.read(part)
    return read_parts(parts, size, sorted(entries))


def folder_of(entries: Iterable[str]) -> str:
    """Return the folder of the model in an archive: "", or the only folder with a config.json at the top."""
    found = [name.removesuffix("config.json") for name in entries if name.split("/")[1:] == ["config.json"]]
    return found[0] if len(found) == 1 and "config.json" not in entries else ""


def read_folder(path: str) -> tuple[dict[str, Any], list[Any]]:
    """Return the header and the data sets of a `.keras` archive that was unpacked, or never packed."""
    parts = {}
    for name in PARTS:
        part = os.path.join(path, name)
        if os.path.isfile(part) and (name.endswith(".h5") or os.path.getsize(part) <= MAX_CONFIG_BYTES):
            with open(part, "rb") as file:
                parts[name] = file.read()
    return read_parts(parts, sum(map(len, parts.values())), sorted(os.listdir(path)))


def read_parts(parts: dict[str, bytes], size: int, names: list[str]) -> tuple[dict[str, Any], list[Any]]:
    """Return the header and the data sets of the parts of an archive of `size` bytes; `names` are all that it holds."""
    if "config.json" not in parts:
        models = [name for name in names if name.endswith((".h5", ".hdf5", ".keras"))]
        advice = f"; unpack it and give {models[0]}" if models else ""
        raise Refused(f"it is a zip archive without config.json (it has {', '.join(names[:8]) or 'nothing'}){advice}")
    if "model.weights.h5" not in parts:
        raise Refused("it is a Keras archive without model.weights.h5")
    header, arrays = read_hdf5(io.BytesIO(parts["model.weights.h5"]), True, max(size, len(parts["model.weights.h5"])))
    header["config"] = parts["config.json"].decode("utf-8", "replace")
    header["keras_version"] = str(json.loads(parts.get("metadata.json", b"{}")).get("keras_version", ""))
    return header, arrays


def send(out: BinaryIO, header: dict[str, Any], arrays: list[Any]) -> None:
    """Write the header, then the arrays one after the other."""
    encoded = json.dumps(header).encode()
    out.write(len(encoded).to_bytes(8, "little") + encoded)
    for dataset in arrays:
        out.write(numbers(dataset).data if dataset.size else b"")
    out.flush()


def read(path: str) -> tuple[dict[str, Any], list[Any]]:
    """Return the header and the data sets of a file or folder."""
    if os.path.isdir(path):
        return read_folder(path)
    size = os.path.getsize(path)
    with open(path, "rb") as file:
        is_archive = file.read(4) == b"PK\x03\x04"
    return read_archive(path, size) if is_archive else read_hdf5(path, False, size)


def main(path: str, n_bytes: int, seconds: int) -> None:
    """Send the content of one file; what goes wrong goes into the header, or cuts the stream short."""
    limit(n_bytes, seconds)
    try:
        header, arrays = read(path)
    except Refused as refusal:
        header, arrays = {"refused": str(refusal)}, []
    except MemoryError:
        header, arrays = {"refused": "reading it takes more memory than such a file should need"}, []
    except Exception as problem:
        header, arrays = {"damaged": f"{type(problem).__name__}: {problem}"[:500]}, []
    send(sys.stdout.buffer, header, arrays)


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]), int(sys.argv[3]))
