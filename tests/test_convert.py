"""Converted models against Keras's own outputs: real files where at hand, and small ones of every layer kind."""

import copy
import csv
import os
import pickle
import zipfile
from pathlib import Path

import numpy as np
import pytest
import torch

from torchviz_layers import ConversionError, convert_keras
from torchviz_layers.convert import example_inputs, verify
from torchviz_layers.convert.onnx_export import flat_outputs, largest_difference

LAYER_FILES = Path(__file__).parent / "data/keras_layers.zip"
AUTHOR_MODELS = ("CIFAR-10_CNN5", "MNIST_LeNet60", "MNIST_dense128")


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


@pytest.fixture(scope="module")
def layer_files(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("keras_layers")
    zipfile.ZipFile(LAYER_FILES).extractall(folder)
    return folder


@pytest.mark.parametrize("layout", ["torch", "keras"])
@pytest.mark.parametrize("name", AUTHOR_MODELS)
def test_every_layer_of_the_notebooks_models_equals_keras(data_dir: Path, name: str, layout: str):
    model = convert_keras(data_dir / f"keras/corpus/tonio73__{name}.h5", layout=layout)
    stored = np.load(data_dir / f"keras/reference/layers/{name}.npz")
    x = torch.from_numpy(stored["x256"])
    outputs = {}
    for child_name, child in model.named_children():
        child.register_forward_hook(lambda _m, _i, out, child_name=child_name: outputs.update({child_name: out}))
    with torch.no_grad():
        model(x.movedim(-1, 1) if x.ndim == 4 and layout == "torch" else x)
    for key in (key for key in stored.files if key.startswith("L")):
        out = outputs[key.split("_", 2)[2]]
        keras_axes = out.movedim(1, -1) if out.ndim == 4 else out
        np.testing.assert_allclose(keras_axes.numpy(), stored[key], atol=1e-5, rtol=0, err_msg=key)


@pytest.mark.parametrize("row", manifest(), ids=lambda row: row["file"])
def test_real_files_convert_or_say_what_stands_in_the_way(data_dir: Path, row: dict[str, str]):
    path = data_dir / "keras/corpus" / row["file"]
    if row["status"] not in ("ok", "tfop"):
        with pytest.raises(ConversionError) as refusal:
            convert_keras(path)
        blamed = row["status"].partition(":")[2].split(",") if row["status"].startswith("custom") else []
        blamed += ["Lambda"] if row["status"] == "lambda" else []
        assert all(name in str(refusal.value) for name in [path.name, *blamed])
        return
    model = convert_keras(path, layout="keras")
    reference = data_dir / "keras/reference" / f"{row['file']}.npz"
    if reference.exists() and (wanted := arrays(np.load(reference), "output")):
        got = outputs_of(model, arrays(np.load(reference), "input"))
        assert largest_difference(got, wanted) <= 1e-4


def layer_names() -> list[str]:
    names = zipfile.ZipFile(LAYER_FILES).namelist()
    return sorted(name for name in names if not name.endswith(".npz"))


@pytest.mark.parametrize("name", layer_names())
def test_layers_of_every_kind_equal_keras(layer_files: Path, name: str):
    stored = np.load(layer_files / f"{name.rpartition('.')[0]}.npz")
    model = convert_keras(layer_files / name, layout="keras")
    assert largest_difference(outputs_of(model, arrays(stored, "input")), arrays(stored, "output")) <= 1e-5


def test_images_enter_and_leave_with_channels_first(layer_files: Path):
    path = layer_files / "k3_mergeimg.keras"
    stored = np.load(layer_files / "k3_mergeimg.npz")
    got = outputs_of(convert_keras(path), [np.moveaxis(stored["input_0"], -1, 1)])
    wanted = [np.moveaxis(array, -1, 1) for array in arrays(stored, "output")]
    assert largest_difference(got, wanted) <= 1e-5


def test_sequences_and_vectors_stay_as_keras_has_them(layer_files: Path):
    assert convert_keras(layer_files / "k3_causal.keras").input_shapes == ((12, 3),)
    assert convert_keras(layer_files / "k3_TDconv.keras").input_shapes == ((4, 2, 8, 9),)


def test_a_plain_chain_is_a_sequential_of_keras_layers(layer_files: Path):
    model = convert_keras(layer_files / "tf_ConvMisc2.h5")
    assert isinstance(model, torch.nn.Sequential)
    assert [type(child).__name__ for child in model][1:4] == ["Conv2d", "UnitNorm", "GroupNorm"]


@pytest.mark.parametrize("name", ["k3_mha.keras", "tf_nested.h5", "k3_seq2seq.keras", "tf_LSTM_plain.h5"])
def test_converted_models_train_copy_and_pickle(layer_files: Path, name: str):
    model = convert_keras(layer_files / name)
    inputs = example_inputs(model)
    before = flat_outputs(model(*inputs))
    for other in (copy.deepcopy(model), pickle.loads(pickle.dumps(model))):
        for a, b in zip(before, flat_outputs(other(*inputs)), strict=True):
            torch.testing.assert_close(a, b, rtol=0, atol=0)
    sum(value.float().sum() for value in flat_outputs(model.train()(*inputs))).backward()
    assert all(parameter.grad is not None for parameter in model.parameters())


@pytest.mark.parametrize("name", ["tf_mergeimg.h5", "k3_ConvMisc2.keras", "k3_shared.keras"])
def test_torch_export_takes_converted_models(layer_files: Path, name: str):
    model = convert_keras(layer_files / name)
    inputs = example_inputs(model)
    program = torch.export.export(model, inputs)
    assert (
        largest_difference(
            [value.detach().numpy() for value in flat_outputs(program.module()(*inputs))],
            [value.detach().numpy() for value in flat_outputs(model(*inputs))],
        )
        <= 1e-6
    )


def test_verify_names_the_first_layer_that_differs(layer_files: Path, tmp_path: Path):
    stored = dict(np.load(layer_files / "k3_ConvMisc2.npz"))
    good = verify(layer_files / "k3_ConvMisc2.keras", reference=layer_files / "k3_ConvMisc2.npz")
    assert good.passed
    np.savez(tmp_path / "wrong.npz", **{**stored, "output_0": stored["output_0"] + 1})
    wrong = verify(layer_files / "k3_ConvMisc2.keras", reference=tmp_path / "wrong.npz")
    assert wrong.first_difference == "output 0"
    assert "differs first at 'output 0'" in str(wrong)


def test_verify_runs_keras_itself_layer_by_layer(layer_files: Path):
    pytest.importorskip("keras", reason="Keras is not installed")
    report = verify(layer_files / "k3_ConvMisc2.keras")
    assert report.passed
    assert len(report.checks) >= 6
