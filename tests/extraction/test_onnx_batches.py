"""ONNX files that are fixed to one batch size, run on any number of samples."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from torchviz_layers import Samples, extract, load_model, visualize_layers
from torchviz_layers.exceptions import ModelError

onnx = pytest.importorskip("onnx")
pytest.importorskip("onnxruntime", reason="ONNX Runtime is not installed")

WEIGHT = np.random.default_rng(0).normal(size=(12, 5)).astype(np.float32)


def write(path: Path, batch: int | str, *, transposed: bool = False) -> Path:
    """Write `relu(flatten(x) @ WEIGHT)`, whose last node turns the samples to the second axis where asked."""
    helper, kind = onnx.helper, onnx.TensorProto.FLOAT
    nodes = [
        helper.make_node("Flatten", ["x"], ["rows"], name="rows"),
        helper.make_node("MatMul", ["rows", "w"], ["product"], name="dense"),
        helper.make_node("Relu", ["product"], ["active"], name="relu"),
    ]
    if transposed:
        nodes += [helper.make_node("Transpose", ["active"], ["turned"], name="turn", perm=[1, 0])]
    name, shape = ("turned", [5, batch]) if transposed else ("active", [batch, 5])
    graph = helper.make_graph(
        nodes,
        "g",
        [helper.make_tensor_value_info("x", kind, [batch, 3, 2, 2])],
        [helper.make_tensor_value_info(name, kind, shape)],
        [onnx.numpy_helper.from_array(WEIGHT, "w")],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    onnx.save(model, path)
    return path


def expected(x: torch.Tensor) -> np.ndarray:
    return np.maximum(x.numpy().reshape(len(x), -1) @ WEIGHT, 0)


@pytest.mark.parametrize("batch", [1, 4, "n"])
@pytest.mark.parametrize("n", [1, 3, 4, 8, 10])
def test_any_number_of_samples_goes_through_a_fixed_batch(tmp_path, batch, n):
    model = load_model(write(tmp_path / "m.onnx", batch))
    x = torch.randn(n, 3, 2, 2)
    seen = {}
    model.dense.register_forward_hook(lambda _m, _i, out: seen.update(dense=out))
    np.testing.assert_allclose(model(x).numpy(), expected(x), atol=1e-5)
    np.testing.assert_allclose(np.maximum(seen["dense"].numpy(), 0), expected(x), atol=1e-5)


def test_samples_on_another_axis_are_joined_there(tmp_path):
    model = load_model(write(tmp_path / "m.onnx", 4, transposed=True))
    x = torch.randn(10, 3, 2, 2)
    np.testing.assert_allclose(model(x).numpy(), expected(x).T, atol=1e-5)


def test_an_output_without_an_axis_of_samples_is_an_error_that_names_the_batch(tmp_path):
    model = load_model(write(tmp_path / "m.onnx", 1, transposed=True))
    with pytest.raises(ModelError, match=r"fixed to batches of 1, and its output 'turned' of shape \(5, 1\)"):
        model(torch.randn(3, 3, 2, 2))


@pytest.mark.parametrize("n", [1, 2, 4, 10])
def test_steps_as_many_as_the_fixed_batch_has_samples_are_not_taken_for_samples(tmp_path, n):
    helper, kind = onnx.helper, onnx.TensorProto.FLOAT
    nodes = [
        helper.make_node("Transpose", ["x"], ["steps"], name="steps", perm=[1, 0, 2]),  # (steps, samples, features)
        helper.make_node("Add", ["table", "table"], ["positions"], name="positions"),  # (steps, features)
        helper.make_node("Shape", ["x"], ["extents"], name="extents"),
        helper.make_node("Add", ["x", "positions"], ["sum"], name="sum"),
    ]
    table = np.arange(12, dtype=np.float32).reshape(4, 3)
    values = [helper.make_tensor_value_info(name, kind, [4, 4, 3]) for name in ("x", "sum")]
    graph = helper.make_graph(nodes, "g", values[:1], values[1:], [onnx.numpy_helper.from_array(table, "table")])
    path = tmp_path / "steps.onnx"
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8), path)
    model = load_model(path)
    x = torch.randn(n, 4, 3)
    seen = {}
    model.steps.register_forward_hook(lambda _m, _i, out: seen.update(steps=out))
    np.testing.assert_allclose(model(x), x + 2 * table)
    np.testing.assert_array_equal(seen["steps"], x.transpose(0, 1))
    acts = extract(model, x.split(4), progress=False)
    assert set(acts) == {"sum"}
    assert set(acts.skipped) == {"steps", "positions", "extents"}


def test_extraction_and_pages_take_a_file_fixed_to_a_batch(tmp_path):
    model = load_model(write(tmp_path / "m.onnx", 4))
    samples = Samples.of(np.random.default_rng(1).random((30, 3, 2, 2), np.float32))
    acts = extract(model, samples.batches(7), ["dense", "relu"], progress=False)
    np.testing.assert_allclose(acts["relu"], expected(torch.from_numpy(samples.shown.images)), atol=1e-5)
    page = visualize_layers(model, samples, reducer="pca", progress=False)
    assert page.data.n_samples == 30
