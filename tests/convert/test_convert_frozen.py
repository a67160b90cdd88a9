"""Files with frozen and unfrozen layers: `.h5` lists trainable arrays first, so the flags decide the order."""

from pathlib import Path

import numpy as np
import pytest
import torch

from tests.keras_files import dense, sequential, write_h5
from tests.stored_keras import arrays, names_in, outputs_of, unpack
from torchviz_layers import ConversionError, convert_keras
from torchviz_layers.convert.onnx.export import largest_difference

FROZEN_FILES = Path(__file__).parents[1] / "files/keras_frozen.tar.xz"
pytestmark = pytest.mark.usefixtures("read_in_this_process")


@pytest.fixture(scope="module")
def frozen_files(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("keras_frozen")
    unpack(FROZEN_FILES, folder)
    return folder


@pytest.mark.parametrize("name", [*names_in(FROZEN_FILES, ".h5"), *names_in(FROZEN_FILES, ".keras")])
def test_models_with_frozen_parts_equal_keras(frozen_files: Path, name: str):
    stored = np.load(frozen_files / f"{name.rpartition('.')[0]}.npz")
    model = convert_keras(frozen_files / name, layout="keras")
    assert largest_difference(outputs_of(model, arrays(stored, "input")), arrays(stored, "output")) <= 1e-5


@pytest.mark.parametrize("name", ["frozen_dense", "frozen_convnet"])
def test_a_thawed_base_of_tensorflow_equals_keras(data_dir: Path, name: str):
    stored = np.load(data_dir / f"keras/made/{name}.npz")
    model = convert_keras(data_dir / f"keras/made/{name}.h5", layout="keras")
    assert largest_difference(outputs_of(model, [stored["x0"]]), [stored["y0"]]) <= 1e-5


def square(value: float) -> np.ndarray:
    return np.full((3, 3), value, np.float32)


def thawed_base(**options: object) -> dict:
    """Return a network around a frozen base `a`, `b`, whose `b` was thawed: Keras writes the arrays of `b` first."""
    layers = [dense(name, units=3, use_bias=False, trainable=name == "b") for name in "ab"]
    base = sequential(*layers, name="base")
    base["config"].update(options)
    return sequential(base)


def test_names_of_other_layers_leave_the_order_to_the_flags(tmp_path: Path):
    path = write_h5(tmp_path / "a.h5", thawed_base(), {"base": [square(2), square(1)]})
    base = convert_keras(path).base
    assert [base.a.weight[0, 0], base.b.weight[0, 0]] == [1, 2]


def test_names_that_contradict_the_flags_are_refused(tmp_path: Path):
    weights, names = {"base": [square(1), square(2)]}, {"base": ["a/kernel:0", "b/kernel:0"]}
    path = write_h5(tmp_path / "a.h5", thawed_base(trainable=True), weights, names=names)
    with pytest.raises(ConversionError, match=r"lists 'base/a/kernel:0' where .* 'kernel' of layer 'b'.* disagree"):
        convert_keras(path)


def test_names_that_fit_only_some_arrays_are_refused_where_they_contradict_the_flags(tmp_path: Path):
    weights, names = {"base": [square(1), square(2)]}, {"base": ["a/kernel:0", "old/kernel:0"]}
    path = write_h5(tmp_path / "a.h5", thawed_base(), weights, names=names)
    with pytest.raises(ConversionError, match="names of the arrays and their order disagree"):
        convert_keras(path)


@pytest.mark.parametrize("middle_trainable", [True, False])
def test_models_without_a_saved_flag_follow_the_names(tmp_path: Path, middle_trainable: bool):
    """Keras before 2.12 does not save the flags of nested models: a frozen one lists its arrays after all others."""
    middle = thawed_base()["config"]["layers"][1]
    base = sequential(middle, dense("c", units=3, use_bias=False), name="outer")
    order = ["b", "c", "a"] if middle_trainable else ["c", "b", "a"]
    values = {"a": 1, "b": 2, "c": 3}
    path = write_h5(
        tmp_path / "a.h5",
        sequential(base),
        {"outer": [square(values[name]) for name in order]},
        names={"outer": [f"{name}/kernel:0" for name in order]},
    )
    outer = convert_keras(path).outer
    found = {"a": outer.base.a, "b": outer.base.b, "c": outer.c}
    assert {name: int(layer.weight[0, 0]) for name, layer in found.items()} == values


def test_a_frozen_model_is_trainable_once_converted(frozen_files: Path):
    model = convert_keras(frozen_files / "tf_last_layers_thawed.h5")
    model(torch.ones(1, 3)).sum().backward()
    assert all(parameter.grad is not None for parameter in model.parameters())


@pytest.mark.parametrize("frozen", [None, "forward", "backward"])
def test_layers_of_one_name_in_two_models_are_told_apart_by_the_names_of_their_parts(
    tmp_path: Path, frozen: str | None
):
    """Which half is frozen is not in the configuration, and the halves' arrays have the same shapes."""
    rnn = {"name": "rnn", "units": 3, "use_bias": False, "return_sequences": True, "activation": "linear"}
    both = {"name": "same", "merge_mode": "sum", "layer": {"class_name": "SimpleRNN", "config": rnn}}
    inner = sequential({"class_name": "Bidirectional", "config": both}, name="inner")
    base = sequential(dense("same", units=3, use_bias=False), inner, name="base")
    inner["config"]["layers"][0]["config"]["batch_input_shape"] = [None, 4, 3]
    base["config"]["layers"][0]["config"]["batch_input_shape"] = [None, 4, 3]
    halves = ["backward", "forward"] if frozen == "forward" else ["forward", "backward"]
    parts = [f"same/{half}_rnn/simple_rnn_cell/{name}:0" for half in halves for name in ("kernel", "recurrent_kernel")]
    values = {"same/kernel:0": 1.0, **{part: 10.0 if "forward" in part else 20.0 for part in parts}}
    path = write_h5(
        tmp_path / "a.h5",
        sequential(base),
        {"base": [square(value) for value in values.values()]},
        names={"base": list(values)},
    )
    found = convert_keras(path).base.state_dict()
    assert {key: float(value.max()) for key, value in found.items() if "same" in key} == {
        key: 20.0 if "backward" in key or "reverse" in key else 10.0 if "inner" in key else 1.0
        for key in found
        if "same" in key
    }
