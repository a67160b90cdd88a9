"""Files that are not what they seem: every one ends in an error that says what it is."""

import json
import os
import subprocess
import sys
import time
import venv
import zipfile
from pathlib import Path

import h5py
import numpy as np
import pytest
import torch
from torch import nn

from tests.keras_files import BIAS, KERNEL, dense, dense_h5, dense_keras, sequential, write_h5, write_keras
from torchviz_layers import ConversionError, convert_keras, load_model
from torchviz_layers.convert.keras_files import reading
from torchviz_layers.exceptions import UnsupportedLayerError

X = torch.tensor([[1.0, 2.0, 3.0]])
Y = torch.from_numpy(np.array([[1.0, 2.0, 3.0]], np.float32) @ KERNEL + BIAS)


@pytest.mark.parametrize("name", ["model.h5", "model.keras", "model.bin"])
def test_the_kind_is_told_by_content_and_not_by_name(tmp_path: Path, name: str):
    torch.testing.assert_close(convert_keras(dense_h5(tmp_path / name))(X), Y)
    torch.testing.assert_close(convert_keras(dense_keras(tmp_path / name))(X), Y)


def test_small_files_convert_in_well_under_a_second(tmp_path: Path):
    path = dense_h5(tmp_path / "m.h5")
    convert_keras(path)
    start = time.perf_counter()
    convert_keras(path)
    assert time.perf_counter() - start < 2.0, "0.1 s on an idle machine"


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 9\n", "git-lfs pointer"),
        (b"\x80\x04\x95\x00\x00", "pickle"),
        (b"", "empty"),
        (b"<!DOCTYPE html>", "web page"),
        (b'{"class_name": "Sequential"}', "JSON"),
        (b"GIF89a", "neither HDF5"),
        (b"\x89HDF\r\n\x1a\n\x00\x00", "damaged"),
        (b"PK\x03\x04\x00\x00", "damaged"),
    ],
)
def test_other_kinds_of_files_are_named(tmp_path: Path, content: bytes, words: str):
    path = tmp_path / "model.h5"
    path.write_bytes(content)
    with pytest.raises(ConversionError, match=words) as refusal:
        convert_keras(path)
    assert str(path) in str(refusal.value)


def test_missing_files_and_folders_are_named(tmp_path: Path):
    with pytest.raises(ConversionError, match=r"cannot be read"):
        convert_keras(tmp_path / "none.h5")
    (tmp_path / "saved_model.pb").touch()
    with pytest.raises(ConversionError, match="SavedModel"):
        convert_keras(tmp_path)


def test_weights_without_a_model_are_refused(tmp_path: Path):
    with pytest.raises(ConversionError, match=r"weights only.*dense"):
        convert_keras(write_h5(tmp_path / "w.h5", None, {"dense": [KERNEL, BIAS]}))


@pytest.mark.parametrize(
    "link", [h5py.ExternalLink("/etc/passwd", "/x"), h5py.SoftLink("/model_weights")], ids=["external", "soft"]
)
def test_links_are_refused(tmp_path: Path, link: object):
    path = dense_h5(tmp_path / "m.h5")
    with h5py.File(path, "r+") as file:
        file["model_weights/other"] = link
    with pytest.raises(ConversionError, match="is a link"):
        convert_keras(path)


def test_groups_in_a_circle_are_refused(tmp_path: Path):
    path = dense_h5(tmp_path / "m.h5")
    with h5py.File(path, "r+") as file:
        file["model_weights/dense/up"] = file["model_weights"]
    with pytest.raises(ConversionError, match="contains itself"):
        convert_keras(path)


def test_arrays_in_other_files_are_refused(tmp_path: Path):
    path = dense_h5(tmp_path / "m.h5")
    with h5py.File(path, "r+") as file:
        file["model_weights"].create_dataset("x", shape=(4,), dtype="f4", external=[("/etc/hostname", 0, 16)])
    with pytest.raises(ConversionError, match="stored in another file"):
        convert_keras(path)


def test_declared_sizes_beyond_the_file_are_refused(tmp_path: Path):
    path = dense_h5(tmp_path / "m.h5")
    with h5py.File(path, "r+") as file:
        file["model_weights"].create_dataset("x", shape=(10**6, 10**6), dtype="f4", chunks=(1, 1000))
    with pytest.raises(ConversionError, match="declares"):
        convert_keras(path)


@pytest.mark.parametrize("name", ["../evil", "/etc/evil", "C:\\evil"])
def test_archive_entries_outside_are_refused(tmp_path: Path, name: str):
    with pytest.raises(ConversionError, match="outside the archive"):
        convert_keras(dense_keras(tmp_path / "m.keras", {name: b"x"}))


def test_archives_that_unpack_to_far_more_are_refused(tmp_path: Path):
    with pytest.raises(ConversionError, match="unpacks to far more"):
        convert_keras(dense_keras(tmp_path / "m.keras", {"bomb": bytes(100_000_000)}))


def test_a_reader_that_hangs_or_dies_costs_an_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    path = dense_h5(tmp_path / "m.h5")
    script = tmp_path / "child.py"
    monkeypatch.setattr(reading, "_CHILD", script)
    script.write_text("import os, signal\nos.kill(os.getpid(), signal.SIGSEGV)\n")
    with pytest.raises(ConversionError, match="could not read it"):
        convert_keras(path)
    script.write_text("import time\ntime.sleep(60)\n")
    monkeypatch.setattr(reading, "_SECONDS", 0.2)
    with pytest.raises(ConversionError, match="did not end in time"):
        convert_keras(path)


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no limit on a process's memory")
def test_a_reader_without_memory_costs_an_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(reading, "_MEMORY", 50_000_000)
    with pytest.raises(ConversionError):
        convert_keras(dense_h5(tmp_path / "m.h5"))


def test_shapes_that_disagree_with_the_configuration_are_refused(tmp_path: Path):
    path = write_h5(tmp_path / "m.h5", sequential(dense(units=5)), {"dense": [KERNEL, BIAS]})
    with pytest.raises(ConversionError, match=r"'dense' \(Dense\).*shape \(5, 3\).*\(2, 3\)"):
        convert_keras(path)


def test_missing_arrays_are_counted(tmp_path: Path):
    with pytest.raises(ConversionError, match=r"2 arrays \(kernel, bias\).*holds 1"):
        convert_keras(write_h5(tmp_path / "m.h5", sequential(dense()), {"dense": [KERNEL]}))


@pytest.mark.parametrize("config", ["{", "[]", '{"class_name": "Sequential"}', '{"class_name": "Mine", "config": {}}'])
def test_damaged_configurations_are_refused(tmp_path: Path, config: str):
    path = dense_h5(tmp_path / "m.h5")
    with h5py.File(path, "r+") as file:
        file.attrs["model_config"] = config
    with pytest.raises(ConversionError):
        convert_keras(path)


def test_every_layer_in_the_way_is_named_and_can_be_brought(tmp_path: Path):
    def fancy(name: str) -> dict:
        return {"class_name": "Fancy", "config": {"name": name, "strength": 7}}

    code = {"class_name": "Lambda", "config": {"name": "code", "function": ["import os", None, None]}}
    model = sequential(dense(), fancy("first"), code, fancy("second"))
    path = write_h5(tmp_path / "m.h5", model, {"dense": [KERNEL, BIAS]})
    with pytest.raises(UnsupportedLayerError) as refusal:
        convert_keras(path)
    for words in (str(path), "first (Fancy)", "second (Fancy)", "code (Lambda)", "strength=7", "custom_layers={"):
        assert words in str(refusal.value)
    brought = {
        "Fancy": lambda config, _weights: nn.Threshold(0.0, config["strength"]),
        "code": lambda *_: nn.Identity(),
    }
    got = convert_keras(path, custom_layers=brought)(X)
    torch.testing.assert_close(got, torch.where(Y > 0, Y, 7.0))


@pytest.mark.parametrize(
    "kind",
    [
        *("StringLookup", "IntegerLookup", "TextVectorization", "Hashing", "HashedCrossing", "DenseFeatures"),
        *("MelSpectrogram", "RandomFourierFeatures", "MaxNumBoundingBoxes"),
        *("TorchModuleWrapper", "JaxLayer", "FlaxLayer", "TFSMLayer"),
    ],
)
def test_layers_of_keras_that_are_no_networks_of_arrays_are_refused_by_name(tmp_path: Path, kind: str):
    model = sequential({"class_name": kind, "config": {"name": "stranger", "trainable": True}})
    with pytest.raises(UnsupportedLayerError, match=rf"stranger \({kind}\)"):
        convert_keras(write_keras(tmp_path / "m.keras", model, {}))


def test_custom_layers_get_their_arrays_by_name(tmp_path: Path):
    model = sequential({"class_name": "Mine", "config": {"name": "mine", "trainable": True}})
    path = write_keras(tmp_path / "m.keras", model, {"layers/mine/vars/0": KERNEL, "layers/mine/inner/vars/0": BIAS})
    seen = {}

    def factory(_config: dict, weights: dict) -> nn.Module:
        seen.update(weights)
        return nn.Identity()

    convert_keras(path, custom_layers={"Mine": factory})
    assert sorted(seen) == ["inner/vars/0", "vars/0"]


def test_names_of_keras_become_attributes(tmp_path: Path):
    model = sequential(dense("block/1.dense"), dense("forward"))
    path = write_h5(tmp_path / "m.h5", model, {"block/1.dense": [KERNEL, BIAS], "forward": [KERNEL[:2], BIAS]})
    assert [name for name, _ in convert_keras(path).named_children()] == ["x_in", "block_1_dense", "forward_"]


def test_keras_1_files_convert(tmp_path: Path):
    conv = {
        "class_name": "Convolution2D",
        "config": {
            "name": "conv", "nb_filter": 2, "nb_row": 3, "nb_col": 3, "border_mode": "same", "subsample": [1, 1],
            "dim_ordering": "th", "activation": "hard_sigmoid", "bias": True, "batch_input_shape": [None, 1, 5, 5],
        },
    }  # fmt: skip
    kernel = np.random.default_rng(0).normal(size=(2, 1, 3, 3)).astype(np.float32)  # (out, in, rows, columns)
    path = write_h5(
        tmp_path / "m.h5", {"class_name": "Sequential", "config": [conv]}, {"conv": [kernel, BIAS]}, "1.2.2"
    )
    x = torch.randn(2, 1, 5, 5)
    wanted = nn.functional.conv2d(x, torch.from_numpy(kernel), torch.from_numpy(BIAS), padding=1)
    torch.testing.assert_close(convert_keras(path)(x), (0.2 * wanted + 0.5).clamp(0, 1))


def test_graphs_in_a_circle_are_refused(tmp_path: Path):
    def layer(name: str, source: str) -> dict:
        return {"class_name": "Activation", "config": {"name": name, "activation": "relu"}, "name": name,
                "inbound_nodes": [[[source, 0, 0, {}]]]}  # fmt: skip

    first = {
        "class_name": "InputLayer",
        "config": {"batch_input_shape": [None, 3], "name": "i"},
        "name": "i",
        "inbound_nodes": [],
    }
    config = {
        "name": "m",
        "layers": [first, layer("a", "b"), layer("b", "a")],
        "input_layers": [["i", 0, 0]],
        "output_layers": [["b", 0, 0]],
    }
    path = write_h5(tmp_path / "m.h5", json.loads(json.dumps({"class_name": "Functional", "config": config})), {})
    with pytest.raises(ConversionError, match="circle"):
        convert_keras(path)


def test_an_unknown_layout_is_refused(tmp_path: Path):
    with pytest.raises(ValueError, match="choose 'torch' or 'keras'"):
        convert_keras(dense_h5(tmp_path / "m.h5"), layout="nhwc")  # type: ignore[arg-type]


@pytest.mark.parametrize(("kind", "gates", "order"), [("LSTM", "icfo", "ifco"), ("GRU", "zrh", "zrh")])
def test_gates_of_keras_1_are_joined(tmp_path: Path, kind: str, gates: str, order: str):
    rng = np.random.default_rng(0)
    shapes = {"kernel": (3, 2), "recurrent_kernel": (2, 2), "bias": (2,)}
    parts = {gate: [rng.normal(size=shape).astype(np.float32) for shape in shapes.values()] for gate in gates}
    old = {"name": "rnn", "output_dim": 2, "activation": "tanh", "inner_activation": "hard_sigmoid",
           "consume_less": "cpu", "batch_input_shape": [None, 4, 3]}  # fmt: skip
    new = {"name": "rnn", "units": 2, "activation": "tanh", "recurrent_activation": "hard_sigmoid",
           "reset_after": False, "batch_input_shape": [None, 4, 3]}  # fmt: skip
    joined = [np.concatenate([parts[gate][index] for gate in order], axis=-1) for index in range(3)]
    separate = [array for gate in gates for array in parts[gate]]

    def model(config: dict) -> dict:
        return {"class_name": "Sequential", "config": [{"class_name": kind, "config": config}]}

    first = write_h5(tmp_path / "1.h5", model(old), {"rnn": separate}, "1.2.2")
    second = write_h5(tmp_path / "2.h5", model(new), {"rnn": joined}, "2.2.4")
    x = torch.randn(2, 4, 3)
    torch.testing.assert_close(convert_keras(first)(x), convert_keras(second)(x), rtol=0, atol=0)


@pytest.mark.parametrize(
    "config", [{"name": "b"}, {"name": "b", "layer": 3}, {"name": "b", "layer": {"class_name": "LSTM"}}]
)
def test_wrappers_without_their_layer_are_refused(tmp_path: Path, config: dict):
    model = sequential({"class_name": "Bidirectional", "config": config})
    with pytest.raises(ConversionError):
        convert_keras(write_h5(tmp_path / "m.h5", model, {}))


def test_libraries_found_through_the_path_alone_serve_the_child_too(tmp_path):
    venv.create(tmp_path / "bare", with_pip=False)
    code = "from torchviz_layers import load_model; print(type(load_model('mnist_dense128')).__name__)"
    python = next(
        path for path in (tmp_path / "bare/bin/python", tmp_path / "bare/Scripts/python.exe") if path.exists()
    )
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(folder for folder in sys.path if os.path.isabs(folder))}
    run = subprocess.run([python, "-c", code], env=environment, capture_output=True, text=True, check=False)
    assert run.stdout.strip() == "Sequential", run.stderr


def test_the_folder_of_an_unpacked_archive_is_the_model(tmp_path: Path):
    with zipfile.ZipFile(dense_keras(tmp_path / "packed.keras")) as archive:
        archive.extractall(tmp_path / "model")
    torch.testing.assert_close(convert_keras(tmp_path / "model")(X), Y)
    torch.testing.assert_close(load_model(tmp_path / "model")(X), Y)
    (tmp_path / "model" / "model.weights.h5").unlink()
    with pytest.raises(ConversionError, match="this is a folder"):
        convert_keras(tmp_path / "model")


def test_a_folder_that_was_packed_as_a_whole_is_the_model(tmp_path: Path):
    with zipfile.ZipFile(dense_keras(tmp_path / "packed.keras")) as archive:
        parts = {name: archive.read(name) for name in archive.namelist()}
    with zipfile.ZipFile(tmp_path / "again.zip", "w") as archive:
        for name, content in parts.items():
            archive.writestr(f"model/{name}", content)
            archive.writestr(f"__MACOSX/model/._{name}", b"x")
    torch.testing.assert_close(convert_keras(tmp_path / "again.zip")(X), Y)


def test_an_archive_with_a_model_file_in_it_says_which_to_unpack(tmp_path: Path):
    with zipfile.ZipFile(tmp_path / "download.zip", "w") as archive:
        archive.write(dense_h5(tmp_path / "net.h5"), "net.h5")
    with pytest.raises(ConversionError, match=r"without config\.json .*; unpack it and give net\.h5"):
        convert_keras(tmp_path / "download.zip")


def test_bfloat16_of_an_h5_file_is_read_though_the_file_calls_it_raw_bits(tmp_path: Path):
    bits = [(array.view(np.uint32) >> 16).astype(np.uint16).view("V2") for array in (KERNEL, BIAS)]
    path = write_h5(tmp_path / "m.h5", sequential(dense()), {"x_in": [], "dense": bits})
    torch.testing.assert_close(convert_keras(path)(X), Y, atol=0.02, rtol=0)  # 8 bits of each number


@pytest.mark.parametrize("policy", ["QuantizedDTypePolicy", "Int4DTypePolicy"])
def test_quantized_layers_are_refused_by_name(policy: str, tmp_path: Path):
    dtype = {"class_name": policy, "config": {"mode": "int8", "source_name": "float32"}}
    arrays = {f"layers/dense/vars/{index}": array for index, array in enumerate((KERNEL, BIAS, BIAS))}
    path = write_keras(tmp_path / "m.keras", sequential(dense(dtype=dtype)), arrays)
    with pytest.raises(ConversionError, match=r"quantized by Keras: 'dense' \(int8\); save .* before model\.quantize"):
        convert_keras(path)


def test_an_h5_file_with_adapters_beside_the_weights_says_which_format_merges_them(tmp_path: Path):
    model = sequential(dense(lora_rank=1))
    path = write_h5(tmp_path / "m.h5", model, {"x_in": [], "dense": [KERNEL, BIAS, KERNEL[:, :1], KERNEL[:1]]})
    with pytest.raises(ConversionError, match=r"holds 4 for it\. .*enable_lora.*'model\.keras'\) merges them"):
        convert_keras(path)


def test_a_model_that_was_saved_before_it_was_built_is_told(tmp_path: Path):
    message = r"'dense' .*but the file holds 0 for it\. Perhaps the model was saved before it was built"
    with pytest.raises(ConversionError, match=message):
        convert_keras(write_h5(tmp_path / "m.h5", sequential(dense()), {"dense": []}))
    with pytest.raises(ConversionError, match=message) as found:
        convert_keras(write_keras(tmp_path / "m.keras", sequential(dense()), {}))
    assert "attributes" not in str(found.value)
