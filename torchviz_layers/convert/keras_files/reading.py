"""A file on disk -> `KerasFile`: its first bytes say what it is; a child process reads its content."""

from __future__ import annotations

import json
import math
import os
import re
import signal
import subprocess
import sys
import threading
from pathlib import Path
from typing import IO, Any

import numpy as np

from torchviz_layers._common.arrays import Array
from torchviz_layers.convert.keras_files.records import KerasFile
from torchviz_layers.exceptions import ConversionError

_CHILD = Path(__file__).with_name("hdf5_child.py")
_HDF5, _ZIP = b"\x89HDF\r\n\x1a\n", b"PK\x03\x04"
_SECONDS = 3.0  # of the processor; a small file takes 0.1 s
_BYTES_PER_SECOND = 20e6  # a slow disk
_PATIENCE = 10  # seconds on the clock for each of the processor: the machine may be busy
_OUT_OF_TIME = (-getattr(signal, "SIGXCPU", signal.SIGTERM), -getattr(signal, "SIGKILL", signal.SIGTERM))
_MEMORY = 1_000_000_000  # Python, NumPy and h5py reserve about 400 MB of address space
_MAX_HEADER = 256 * 2**20

_KINDS = (
    (b"version https://git-lfs", "a git-lfs pointer, not the model itself: fetch the real file with `git lfs pull`"),
    (b"\x80\x02", "a Python pickle, which is code: it is never loaded"),
    (b"\x80\x03", "a Python pickle, which is code: it is never loaded"),
    (b"\x80\x04", "a Python pickle, which is code: it is never loaded"),
    (b"\x80\x05", "a Python pickle, which is code: it is never loaded"),
    (b"\x1f\x8b", "a gzip file: unpack it first"),
    (
        b"{",
        "JSON, perhaps a model's architecture without its weights: save the whole model with model.save('model.keras')",
    ),
    (b"<", "a web page or XML: the download went to the wrong address"),
)


def read_keras_file(path: str | Path) -> KerasFile:
    """Read a `.h5`, `.hdf5` or `.keras` file of any Keras version, or the folder of an unpacked `.keras` file.

    Parameters
    ----------
    path
        The file; its name does not matter, its first bytes do.

    Raises
    ------
    ConversionError
        The file is missing, is something else, is damaged, or holds weights without a model.
    """
    path = Path(path)
    _refuse_other_kinds(path)
    header, arrays = _ask_child(path)
    if header["config"] is None:
        raise ConversionError(_no_model(path, header))
    try:
        config = json.loads(header["config"])
    except (ValueError, RecursionError) as problem:
        raise ConversionError(f"{path}: the model's configuration is damaged: {problem}") from problem
    if not isinstance(config, dict) or "class_name" not in config:
        raise ConversionError(f"{path}: the model's configuration names no class; it is damaged or not Keras's")
    version = header["keras_version"]
    if not re.match(r"\d+(\.|$)", version):
        version = "3.0.0" if header["order"] is None else "1.0.0"
    return KerasFile(path, config, version, header["backend"], arrays, header["order"], header["group_names"])


def is_unpacked(path: Path) -> bool:
    """Return whether this is the folder of a `.keras` file: unpacked by the system, or saved so for a model hub."""
    return all(os.path.isfile(path / name) for name in ("config.json", "model.weights.h5"))  # false for any text


def _refuse_other_kinds(path: Path) -> None:
    if is_unpacked(path):
        return
    if path.is_dir():
        advice = "a TensorFlow SavedModel folder: " if (path / "saved_model.pb").exists() else "a folder: "
        raise ConversionError(f"{path}: this is {advice}load it with Keras and save it with model.save('model.keras')")
    try:
        with path.open("rb") as file:
            start = file.read(64)
    except OSError as problem:
        raise ConversionError(f"{path}: cannot be read: {problem.strerror or problem}") from problem
    if start.startswith((_HDF5, _ZIP)):
        return
    if not start:
        raise ConversionError(f"{path}: the file is empty")
    for magic, what in _KINDS:
        if start.startswith(magic):
            raise ConversionError(f"{path}: this is {what}")
    raise ConversionError(
        f"{path}: this is neither HDF5 (.h5) nor a Keras archive (.keras); it starts with {start[:8]!r}"
    )


def _no_model(path: Path, header: dict[str, Any]) -> str:
    layers = ", ".join(list(header["order"] or {})[:12] or header["top"][:12]) or "none"
    return (
        f"{path}: this holds weights only, not the model (groups: {layers}). Build the model in Keras, "
        "load the weights with model.load_weights(...) and save the whole with model.save('model.keras')"
    )


def _ask_child(path: Path) -> tuple[dict[str, Any], dict[str, Array]]:
    """Return the header and the arrays that the child process sends."""
    size = (path / "model.weights.h5" if path.is_dir() else path).stat().st_size
    seconds = _SECONDS + size / _BYTES_PER_SECOND
    limits = [str(_MEMORY + 4 * size), str(math.ceil(seconds))]
    folders = [folder for folder in sys.path if os.path.isabs(folder)]
    # -I: no user site, no PYTHONPATH; the folders where libraries are found are passed instead.
    command = [sys.executable, "-I", str(_CHILD), str(path.resolve()), *limits, *folders]
    timed_out = threading.Event()
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, stdin=subprocess.DEVNULL
    ) as child:

        def stop() -> None:
            timed_out.set()
            child.kill()

        timer = threading.Timer(_PATIENCE * seconds, stop)
        timer.start()
        try:
            assert child.stdout is not None
            return _receive(path, child.stdout)
        except EOFError as cut:
            if timed_out.is_set() or child.wait() in _OUT_OF_TIME:
                raise ConversionError(f"{path}: damaged: reading it did not end in time") from cut
            raise ConversionError(f"{path}: damaged: the HDF5 library could not read it to its end") from cut
        finally:
            timer.cancel()
            child.kill()


def _receive(path: Path, stream: IO[bytes]) -> tuple[dict[str, Any], dict[str, Array]]:
    length = int.from_bytes(_exactly(stream, 8), "little")
    if length > _MAX_HEADER:
        raise ConversionError(f"{path}: damaged: its list of arrays is too long ({length:,} bytes)")
    header: dict[str, Any] = json.loads(_exactly(stream, length))
    if "refused" in header:
        raise ConversionError(f"{path}: refused: {header['refused']}")
    if "damaged" in header:
        raise ConversionError(f"{path}: damaged or cut short: {header['damaged']}")
    arrays: dict[str, Array] = {}
    for name, dtype, shape in header["arrays"]:
        array = np.empty(shape, dtype)
        _fill(stream, array)
        arrays[name] = array
    return header, arrays


def _exactly(stream: IO[bytes], count: int) -> bytes:
    data = stream.read(count)
    if len(data) < count:
        raise EOFError
    return data


def _fill(stream: IO[bytes], array: Array) -> None:
    """Read straight into the array, so that a large model is in memory once."""
    if not array.size:
        return
    # A pipe gives less than a large array at once.
    view = memoryview(array.reshape(-1).view(np.uint8).data)
    while len(view):
        count = stream.readinto(view)  # type: ignore[attr-defined] # a buffered pipe has it
        if not count:
            raise EOFError
        view = view[count:]
