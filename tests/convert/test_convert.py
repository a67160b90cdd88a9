"""Converted models against Keras's own outputs: real files where at hand, and small ones of every layer kind."""

import copy
import importlib
import json
import pickle
from pathlib import Path

import numpy as np
import pytest
import torch

from tests.rounding import ROUNDING
from tests.stored_keras import LAYER_FILES, ROOT, arrays, manifest, names_in, outputs_of, unpack
from torchviz_layers import ConversionError, convert_keras
from torchviz_layers.convert import example_inputs, verify
from torchviz_layers.convert.onnx.export import flat_outputs, largest_difference

AUTHOR_MODELS = ("CIFAR-10_CNN5", "MNIST_LeNet60", "MNIST_dense128")


@pytest.fixture(scope="module")
def layer_files(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("keras_layers")
    unpack(LAYER_FILES, folder)
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
def test_real_files_convert_or_name_what_is_unsupported(data_dir: Path, row: dict[str, str]):
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


@pytest.mark.usefixtures("read_in_this_process")
@pytest.mark.parametrize("name", [*names_in(LAYER_FILES, ".h5"), *names_in(LAYER_FILES, ".keras")])
def test_layers_of_every_kind_equal_keras(layer_files: Path, name: str):
    stored = np.load(layer_files / f"{name.rpartition('.')[0]}.npz")
    model = convert_keras(layer_files / name, layout="keras")
    inputs = arrays(stored, "input")
    got = outputs_of(model, inputs)
    if "stateful" in name:  # the file has the outputs of two batches
        got += outputs_of(model, inputs)
    assert largest_difference(got, arrays(stored, "output")) <= 1e-5


def test_stateful_layers_start_from_zeros_when_reset_or_on_another_batch_size(layer_files: Path):
    model = convert_keras(layer_files / "tf_stateful.h5")
    inputs = arrays(np.load(layer_files / "tf_stateful.npz"), "input")
    first, second = outputs_of(model, inputs), outputs_of(model, inputs)
    assert largest_difference(second, first) > 1e-2
    model.lstm.reset_states()
    model.gru.reset_states()
    assert largest_difference(outputs_of(model, inputs), first) <= ROUNDING
    halves = [outputs_of(model, [inputs[0][index : index + 1]])[0] for index in range(2)]
    assert largest_difference(halves[:1], [first[0][:1]]) <= ROUNDING


@pytest.mark.usefixtures("read_in_this_process")
@pytest.mark.parametrize("name", names_in(ROOT / "tests/files/keras_applications.tar.xz", ".json"))
def test_architectures_of_keras_applications_equal_keras(tmp_path: Path, name: str, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.syspath_prepend(ROOT / "converters")
    maker = importlib.import_module("make_application_files")
    unpack(ROOT / "tests/files/keras_applications.tar.xz", tmp_path)
    facts = json.loads((tmp_path / name).read_text())
    maker.write_h5(tmp_path / "model.h5", facts)
    model = convert_keras(tmp_path / "model.h5")
    found = []
    model.get_submodule(facts["feature"]).register_forward_hook(lambda _module, _inputs, output: found.append(output))
    outputs_of(model, [np.moveaxis(maker.images_for(facts["size"], facts["brightest"]), -1, 1)])
    wanted = np.load(tmp_path / f"{Path(name).stem}.npy")
    largest = np.abs(wanted).max()
    assert np.abs(wanted[0] - wanted[1]).max() > 1e-4 * largest, "the two images should not be alike"
    np.testing.assert_allclose(found[0].movedim(1, -1).numpy(), wanted, atol=2e-5 * largest, rtol=0)


def test_images_enter_and_leave_with_channels_first(layer_files: Path):
    path = layer_files / "k3_mergeimg.keras"
    stored = np.load(layer_files / "k3_mergeimg.npz")
    got = outputs_of(convert_keras(path), [np.moveaxis(stored["input_0"], -1, 1)])
    wanted = [np.moveaxis(array, -1, 1) for array in arrays(stored, "output")]
    assert largest_difference(got, wanted) <= 1e-5


def test_sequences_and_vectors_stay_as_keras_has_them(layer_files: Path):
    assert convert_keras(layer_files / "k3_causal.keras").input_shapes == ((12, 3),)
    assert convert_keras(layer_files / "k3_TDconv.keras").input_shapes == ((4, 2, 6, 7),)


def test_a_plain_chain_is_a_sequential_of_keras_layers(layer_files: Path):
    model = convert_keras(layer_files / "tf_ConvMisc2.h5")
    assert isinstance(model, torch.nn.Sequential)
    assert [type(child).__name__ for child in model][1:4] == ["Conv2d", "UnitNorm", "GroupNorm"]


@pytest.mark.parametrize("name", ["k3_mha.keras", "tf_nested.h5", "k3_seq2seq.keras", "tf_LSTM_plain.h5"])
def test_converted_models_train_copy_and_pickle(layer_files: Path, name: str):
    model = convert_keras(layer_files / name)
    inputs = example_inputs(model)
    before = flat_outputs(model(*inputs))
    model.transform = torch.neg
    twice = copy.deepcopy(pickle.loads(pickle.dumps(model)))
    for other in (copy.deepcopy(model), pickle.loads(pickle.dumps(model)), twice):
        assert other.input_shapes == model.input_shapes
        assert other.transform is torch.neg
        state, copied = model.state_dict(), other.state_dict()
        assert list(copied) == list(state)
        assert all(torch.equal(copied[key], state[key]) for key in state)
        after = flat_outputs(other(*inputs))
        assert largest_difference(*([t.detach().numpy() for t in side] for side in (after, before))) <= ROUNDING
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
        <= ROUNDING
    )


def test_verify_names_the_first_layer_that_differs(layer_files: Path, tmp_path: Path):
    stored = dict(np.load(layer_files / "k3_ConvMisc2.npz"))
    good = verify(layer_files / "k3_ConvMisc2.keras", reference=layer_files / "k3_ConvMisc2.npz")
    assert good.passed
    np.savez(tmp_path / "wrong.npz", **{**stored, "output_0": stored["output_0"] + 1})
    wrong = verify(layer_files / "k3_ConvMisc2.keras", reference=tmp_path / "wrong.npz")
    assert wrong.first_difference == "output 0"
    assert "differs first at 'output 0'" in str(wrong)


@pytest.mark.filterwarnings("ignore")  # of Keras itself
def test_verify_runs_keras_itself_layer_by_layer(layer_files: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("KERAS_BACKEND", "torch")  # TensorFlow, its first choice, may not be installed
    pytest.importorskip("keras", reason="Keras is not installed")
    report = verify(layer_files / "k3_ConvMisc2.keras")
    assert report.passed
    assert len(report.checks) >= 6
