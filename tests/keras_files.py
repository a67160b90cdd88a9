"""Keras files written by hand, without Keras, and a quick way to read those that are known to be sound."""

import importlib.util
import io
import json
import sys
import zipfile
from functools import cache
from pathlib import Path
from types import ModuleType
from unittest import mock

import h5py
import numpy as np

from torchviz_layers.convert.keras_files import reading

KERNEL = np.arange(6, dtype=np.float32).reshape(3, 2) / 10
BIAS = np.array([0.5, -0.5], np.float32)


def dense(name: str = "dense", **options: object) -> dict:
    return {
        "class_name": "Dense",
        "config": {"name": name, "trainable": True, "units": 2, "activation": "linear", "use_bias": True, **options},
    }


def sequential(*layers: dict, name: str = "net") -> dict:
    first = {"class_name": "InputLayer", "config": {"batch_input_shape": [None, 3], "name": "x_in"}}
    return {"class_name": "Sequential", "config": {"name": name, "layers": [first, *layers]}}


def write_h5(
    path: Path,
    model: dict | None,
    weights: dict[str, list[np.ndarray]],
    version: str = "2.15.0",
    names: dict[str, list[str]] | None = None,
) -> Path:
    """Write the HDF5 format of Keras 2; `weights` are each layer's arrays in order, `names` those of the arrays."""
    with h5py.File(path, "w") as file:
        file.attrs["keras_version"] = version
        file.attrs["backend"] = "tensorflow"
        if model is not None:
            file.attrs["model_config"] = json.dumps(model)
        group = file.create_group("model_weights")
        group.attrs["layer_names"] = [name.encode() for name in weights]
        for layer, arrays in weights.items():
            own = (names or {}).get(layer) or [f"{layer}/w{index}:0" for index in range(len(arrays))]
            sub = group.create_group(layer)
            sub.attrs["weight_names"] = [name.encode() for name in own]
            for name, array in zip(own, arrays, strict=True):
                sub[name] = array
    return path


def write_keras(
    path: Path,
    model: dict,
    arrays: dict[str, np.ndarray],
    extra: dict[str, bytes] | None = None,
    version: str = "3.9.0",
    group_names: dict[str, str] | None = None,
) -> Path:
    """Write a `.keras` archive; `arrays` are by their paths in it, `group_names` the layers' names of groups."""
    buffer = io.BytesIO()
    with h5py.File(buffer, "w") as file:
        for name, array in arrays.items():
            file[name] = array
        for group, layer in (group_names or {}).items():
            file[f"{group}/vars"].attrs["name"] = layer
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("metadata.json", json.dumps({"keras_version": version}))
        archive.writestr("config.json", json.dumps(model))
        archive.writestr("model.weights.h5", buffer.getvalue())
        for name, content in (extra or {}).items():
            archive.writestr(name, content)
    return path


def dense_h5(path: Path) -> Path:
    return write_h5(path, sequential(dense()), {"x_in": [], "dense": [KERNEL, BIAS]})


def dense_keras(path: Path, extra: dict[str, bytes] | None = None) -> Path:
    arrays = {"layers/dense/vars/0": KERNEL, "layers/dense/vars/1": BIAS}
    return write_keras(path, sequential(dense()), arrays, extra)


@cache
def hdf5_child() -> ModuleType:
    """Return the script that otherwise reads a file in a process of its own."""
    spec = importlib.util.spec_from_file_location("hdf5_child", reading._CHILD)
    child = importlib.util.module_from_spec(spec)
    arguments = ["hdf5_child.py", "file", "memory", "seconds", *sys.path]
    with mock.patch.object(sys, "argv", arguments), mock.patch.dict("os.environ"):
        spec.loader.exec_module(child)
    return child


def read_without_a_child(path: Path) -> tuple[dict, dict[str, np.ndarray]]:
    """Return what the child process would send."""
    child, stream = hdf5_child(), io.BytesIO()
    with mock.patch.object(child, "limit"), mock.patch.object(sys, "stdout", mock.Mock(buffer=stream)):
        child.main(str(path), 0, 0)
    stream.seek(0)
    return reading._receive(path, stream)
