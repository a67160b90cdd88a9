"""Every real Keras file that converts, in every form in which it can leave: source, ONNX, `torch.export`, layers."""

import ast
import json
import re
import subprocess
import sys
import zipfile
from pathlib import Path

import h5py
import pytest
import torch
from safetensors.torch import load_file

from tests.rounding import ROUNDING
from tests.stored_keras import ROOT, loaded, manifest, outputs_of
from torchviz_layers import convert_keras, list_layers
from torchviz_layers.convert import example_inputs, export_onnx, write_source
from torchviz_layers.convert.keras_files.naming import attribute_name
from torchviz_layers.convert.onnx.export import flat_outputs, largest_difference

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]

CONVERTIBLE = [row["file"] for row in manifest() if row["status"] in ("ok", "tfop")]
IMAGES = [
    row["file"]
    for row in manifest()
    if row["file"] in CONVERTIBLE and re.search(r"Conv[23]D", row["layers"]) and "LSTM" not in row["layers"]
]
SHAPES = {"RyanH1234__wavenet.h5": ((265, 1),)}  # of one sample, where the file does not say


def converted(data_dir: Path, name: str) -> torch.nn.Module:
    model = convert_keras(data_dir / "keras/corpus" / name)
    model.input_shapes = SHAPES.get(name, model.input_shapes)
    return model


def names_in(config: dict, prefix: str = "") -> list[str]:
    """Return the qualified names of the layers of a serialized model; nested ones give theirs."""
    found = []
    for layer in config if isinstance(config, list) else config["layers"]:
        inner = layer["config"]
        own = layer.get("name") or (inner["name"] if isinstance(inner, dict) else "sequential")
        name = prefix + attribute_name(own)
        if isinstance(inner, list) or "layers" in inner:
            found += names_in(inner, f"{name}.")
        else:
            found.append(name)
    return found


def serialized(path: Path) -> dict:
    if zipfile.is_zipfile(path):
        return json.loads(zipfile.ZipFile(path).read("config.json"))
    with h5py.File(path) as file:
        return json.loads(file.attrs["model_config"])


@pytest.mark.parametrize("name", CONVERTIBLE)
def test_source_of_real_files_gives_the_same_imports_torch_only_and_passes_the_linter(
    data_dir: Path, tmp_path: Path, name: str
):
    model = converted(data_dir, name)
    source, weights = write_source(model, tmp_path / "emitted.py", name="Network")
    network = loaded(source).Network()
    network.load_state_dict(load_file(weights))
    inputs = [value.numpy() for value in example_inputs(model)]
    assert largest_difference(outputs_of(network.eval(), inputs), outputs_of(model, inputs)) <= ROUNDING
    tree = ast.walk(ast.parse(source.read_text()))
    imports = {
        node.names[0].name if isinstance(node, ast.Import) else node.module
        for node in tree
        if isinstance(node, (ast.Import, ast.ImportFrom))
    }
    assert {entry.partition(".")[0] for entry in imports} <= {"__future__", "torch", "collections", "typing"}
    if (ruff := Path(sys.executable).with_name("ruff")).exists():
        done = subprocess.run([ruff, "check", "--isolated", tmp_path], capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stdout


@pytest.mark.parametrize("name", CONVERTIBLE)
def test_onnx_of_real_files_agrees_or_stands_in_the_docs_with_its_reason(data_dir: Path, tmp_path: Path, name: str):
    pytest.importorskip("onnxruntime", reason="ONNX Runtime is not installed")
    pytest.importorskip("onnxscript", reason="onnxscript is not installed")
    page = (ROOT / "docs/convert.md").read_text()
    assert (name in page) == (name in SHAPES)
    assert export_onnx(converted(data_dir, name), tmp_path / "m.onnx") <= 1e-4


@pytest.mark.parametrize("name", IMAGES)
def test_torch_export_takes_real_networks_on_images(data_dir: Path, name: str):
    model = converted(data_dir, name)
    inputs = example_inputs(model)
    program = torch.export.export(model, inputs)
    with torch.no_grad():
        got, wanted = ([value.numpy() for value in flat_outputs(run(*inputs))] for run in (program.module(), model))
    assert largest_difference(got, wanted) <= ROUNDING


@pytest.mark.parametrize("name", CONVERTIBLE)
def test_list_layers_names_every_keras_layer_of_real_files(data_dir: Path, name: str):
    model = converted(data_dir, name)
    listed = {layer.name for layer in list_layers(model, example_inputs(model))}
    config = serialized(data_dir / "keras/corpus" / name)["config"]
    missing = [layer for layer in names_in(config) if layer not in listed]
    assert not missing
