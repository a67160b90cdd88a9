"""Keras files with the outputs that Keras gave for them: where they are, and how to compare a converted model."""

import csv
import importlib.util
import os
import tarfile
from pathlib import Path

import numpy as np
import torch

from torchviz_layers.convert.onnx.export import flat_outputs

ROOT = Path(__file__).parents[1]
LAYER_FILES = ROOT / "tests/files" / "keras_layers.tar.xz"


def manifest() -> list[dict[str, str]]:
    folder = os.environ.get("TORCHVIZ_LAYERS_DATA")
    path = Path(folder or "/nowhere") / "keras/manifest.tsv"
    return list(csv.DictReader(path.read_text().splitlines(), delimiter="\t")) if path.exists() else []


def arrays(stored: np.lib.npyio.NpzFile, kind: str) -> list[np.ndarray]:
    names = [name for name in stored.files if name.startswith(f"{kind}_")]
    return [stored[name] for name in sorted(names, key=lambda name: int(name.rpartition("_")[2]))]


def outputs_of(model: torch.nn.Module, inputs: list[np.ndarray]) -> list[np.ndarray]:
    with torch.no_grad():
        output = model(*(torch.from_numpy(np.ascontiguousarray(array)) for array in inputs))
    if isinstance(output, dict):
        return [output[key].numpy() for key in sorted(output)]
    return [value.numpy() for value in flat_outputs(output)]


def unpack(archive: Path, folder: Path) -> None:
    with tarfile.open(archive) as files:
        files.extractall(folder, filter="data")


def names_in(archive: Path, ending: str) -> list[str]:
    with tarfile.open(archive) as files:
        return sorted(name for name in files.getnames() if name.endswith(ending))


def loaded(path: Path):
    spec = importlib.util.spec_from_file_location(path.stem, path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module
