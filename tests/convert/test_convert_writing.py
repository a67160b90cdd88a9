"""Emitted source, ONNX out and in, the summary table, the registry and its page."""

import ast
import builtins
import shutil
import subprocess
import sys
import tarfile
from pathlib import Path

import pytest
import torch
from click.testing import CliRunner
from safetensors.torch import load_file
from torch import nn

from tests.keras_files import BIAS, KERNEL, dense, dense_h5, dense_keras, write_h5
from tests.rounding import ROUNDING
from tests.stored_keras import LAYER_FILES, ROOT, loaded, outputs_of
from torchviz_layers import ConversionError, convert_keras
from torchviz_layers.cli import cli
from torchviz_layers.convert import conversion_table, example_inputs, export_onnx, load_onnx, verify, write_source
from torchviz_layers.convert.layers.base import KerasModule, constructor_arguments, constructor_names
from torchviz_layers.convert.layers.recurrent import Recurrent
from torchviz_layers.convert.onnx.export import largest_difference
from torchviz_layers.convert.registry import rule
from torchviz_layers.convert.source.definitions import _IMPORTS, definitions
from torchviz_layers.convert.source.expressions import constructor_expression
from torchviz_layers.convert.support import support_page
from torchviz_layers.models import bundled_path

SOURCES = (
    "tf_ConvMisc2.h5",
    "k3_mergeimg.keras",
    "tf_nested.h5",
    "k3_operators.keras",
    "tf_imgops.h5",
    "k3_mhamask.keras",
    "tf_ConvLSTM2D.h5",
    "k3_TDmodel.keras",
    "tf_MaskBiLSTM_return_sequencesTrue.h5",
    "k3_shared.keras",
    "k3_reversible.keras",
    "k3_ops_shapes.keras",
    "tf_tf_functions.h5",
    "tf_Resize_other.h5",
    "tf_mask_merge.h5",
    "k3_gqa.keras",
)


def unpacked(folder: Path, name: str) -> Path:
    with tarfile.open(LAYER_FILES) as archive:
        archive.extract(name, folder, filter="data")
    return folder / name


@pytest.mark.parametrize("name", SOURCES)
def test_emitted_source_gives_the_same_outputs_and_imports_torch_only(tmp_path: Path, name: str):
    model = convert_keras(unpacked(tmp_path, name))
    source, weights = write_source(model, tmp_path / "emitted.py", name="Network")
    network = loaded(source).Network()
    network.load_state_dict(load_file(weights))
    inputs = [value.numpy() for value in example_inputs(model)]
    assert largest_difference(outputs_of(network.eval(), inputs), outputs_of(model, inputs)) <= ROUNDING
    tree = ast.parse(source.read_text())
    imported = {
        node.names[0].name if isinstance(node, ast.Import) else node.module
        for node in ast.walk(tree)
        if isinstance(node, (ast.Import, ast.ImportFrom))
    }
    assert {name.partition(".")[0] for name in imported} <= {"__future__", "torch", "collections", "typing"}


@pytest.mark.skipif(shutil.which("ruff", path=str(Path(sys.executable).parent)) is None, reason="ruff is not installed")
def test_emitted_source_passes_the_linter(tmp_path: Path):
    for name in SOURCES:
        write_source(convert_keras(unpacked(tmp_path, name)), tmp_path / f"{Path(name).stem.lower()}_source.py")
    ruff = Path(sys.executable).with_name("ruff")
    done = subprocess.run([ruff, "check", "--isolated", tmp_path], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout


def test_source_reads_as_a_person_would_have_written_it(tmp_path: Path):
    text = write_source(convert_keras(dense_h5(tmp_path / "m.h5")), tmp_path / "tiny_net.py")[0].read_text()
    assert "class TinyNet(nn.Module):" in text
    assert "self.dense = nn.Linear(3, 2)" in text
    assert "return self.dense(x)  # (N, 2)" in text


def test_source_of_a_callers_own_layer_is_refused(tmp_path: Path):
    with pytest.raises(ConversionError, match="caller's own"):
        write_source(nn.Sequential(nn.ReLU()), tmp_path / "x.py")
    assert not (tmp_path / "x.py").exists()


@pytest.mark.parametrize("taken", ["net.py", "net.safetensors"])
def test_source_that_cannot_be_written_leaves_nothing_behind(tmp_path: Path, taken: str):
    model = convert_keras(dense_h5(tmp_path / "m.h5"))
    folder = tmp_path / "out"
    (folder / taken).mkdir(parents=True)
    with pytest.raises(ConversionError, match=f"{taken}: cannot be written: is a folder"):
        write_source(model, folder / "net.py")
    assert [path.name for path in folder.iterdir()] == [taken]


def test_onnx_goes_out_and_comes_in_with_nodes_open_to_hooks(tmp_path: Path):
    pytest.importorskip("onnxruntime", reason="ONNX Runtime is not installed")
    pytest.importorskip("onnxscript", reason="onnxscript is not installed")
    model = convert_keras(unpacked(tmp_path, "tf_ConvMisc2.h5"))
    assert export_onnx(model, tmp_path / "m.onnx") <= 1e-5
    again = load_onnx(tmp_path / "m.onnx")
    x = torch.randn(3, *model.input_shapes[0])  # another batch than it was exported with
    seen = {}
    for name, node in again.named_children():
        node.register_forward_hook(lambda _m, _i, out, name=name: seen.update({name: out}))
    torch.testing.assert_close(again(x), model(x), rtol=1e-4, atol=1e-5)
    conv = next(value for name, value in seen.items() if "conv" in name)
    torch.testing.assert_close(conv, model[:2](x), rtol=1e-4, atol=1e-5)
    assert len(seen) == len(list(again.children()))


RECURRENT = (
    "k3_LSTM_hard.keras",
    "tf_GRU_hard.h5",
    "tf_GRU_nobias.h5",
    "k3_SimpleRNN_back.keras",
    "k3_gru_state.keras",
)


@pytest.mark.parametrize("name", RECURRENT)
def test_recurrent_layers_become_one_onnx_node_each(tmp_path: Path, name: str):
    onnx = pytest.importorskip("onnx", reason="onnx is not installed")
    pytest.importorskip("onnxruntime", reason="ONNX Runtime is not installed")
    pytest.importorskip("onnxscript", reason="onnxscript is not installed")
    model = convert_keras(unpacked(tmp_path, name))
    kinds = [type(part) for part in model.modules()]
    assert export_onnx(model, tmp_path / "m.onnx") <= 1e-5
    assert [type(part) for part in model.modules()] == kinds, "the model is as it was"
    layers = sum(isinstance(part, (nn.LSTM, nn.GRU, Recurrent)) for part in model.modules())
    nodes = [node.op_type for node in onnx.load(tmp_path / "m.onnx").graph.node]
    assert sum(nodes.count(operator) for operator in ("LSTM", "GRU", "RNN")) == layers
    assert len(nodes) < 8 * layers


def test_files_that_are_not_onnx_are_refused(tmp_path: Path):
    pytest.importorskip("onnxruntime", reason="ONNX Runtime is not installed")
    (tmp_path / "m.onnx").write_bytes(b"no model")
    with pytest.raises(ConversionError, match="not a model"):
        load_onnx(tmp_path / "m.onnx")
    with pytest.raises(ConversionError, match="cannot be read"):
        load_onnx(tmp_path / "none.onnx")


def test_the_shape_of_a_sample_can_be_told_where_the_file_has_none(tmp_path: Path):
    path = write_h5(tmp_path / "m.h5", {"class_name": "Sequential", "config": [dense()]}, {"dense": [KERNEL, BIAS]})
    assert convert_keras(path).input_shapes == (None,)
    run = CliRunner().invoke(cli, ["convert", str(path), "--input-shape", "3"])
    assert "(N, 2)" in run.output


def test_the_table_lists_every_layer_with_shape_and_parameters(tmp_path: Path):
    table = conversion_table(convert_keras(dense_keras(tmp_path / "m.keras")))
    assert [(row.layer, row.module, row.output_shape, row.parameters) for row in table] == [
        ("x_in", "Input", "(N, 3)", 0),
        ("dense", "Linear", "(N, 2)", 8),
    ]
    assert str(table).endswith("8 parameters")


def test_a_kind_has_one_rule():
    with pytest.raises(ValueError, match="Dense: dense is its rule already"):
        rule("Dense")(lambda _layer, _site: None)


def test_the_page_of_supported_layers_is_current():
    assert (ROOT / "docs/keras-layers.md").read_text() == support_page()


def test_mutated_files_are_refused_or_read_as_h5py_reads_them(tmp_path: Path):
    fuzz = loaded(ROOT / "converters/fuzz.py")
    fuzz.SECONDS = 60.0  # by the clock: a machine that does other work too is slow
    files = [dense_h5(tmp_path / "m.h5"), dense_keras(tmp_path / "m.keras"), unpacked(tmp_path, "k3_nested.keras")]
    verdicts = [fuzz.case(files, seed, None) for seed in range(16)]
    assert {verdict for _, verdict in verdicts} == {"refused", "equal"}


def test_onnx_to_a_path_that_cannot_be_written_is_an_error_that_names_it(tmp_path):
    pytest.importorskip("onnxruntime", reason="the onnx extra is not installed")
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(ConversionError, match=r"file/m\.onnx: cannot be written: Not a directory"):
        export_onnx(convert_keras(bundled_path("MNIST_dense128.h5")), tmp_path / "file" / "m.onnx")


def test_stored_outputs_that_are_no_archive_are_refused_without_recommending_pickles(tmp_path):
    (tmp_path / "r.npz").write_text("outputs")
    with pytest.raises(ConversionError, match=r"r\.npz: not a \.npz of stored outputs: File is not a zip file"):
        verify(bundled_path("MNIST_dense128.h5"), reference=tmp_path / "r.npz")


def test_layers_use_only_names_that_written_source_has():
    known = {*definitions(), *_IMPORTS, *dir(builtins), "torch", "F", "Tensor", "nn", "KerasModule"}
    for name, definition in definitions().items():
        names = [node for node in ast.walk(ast.parse(definition.source)) if isinstance(node, ast.Name)]
        own = {node.id for node in names if isinstance(node.ctx, ast.Store)}  # fields of the class
        assert not definition.uses - known - own, f"{name}: these names would be missing in a file of its own"


class Squash(KerasModule):
    """A layer without options and without an `__init__`."""

    def forward(self, x):
        return x / (1 + x.abs())


def test_a_layer_without_options_needs_no_constructor_of_its_own():
    assert repr(Squash()) == "Squash()"
    assert constructor_arguments(Squash()) == {}
    assert constructor_names(Squash()) == []


def test_a_layer_whose_file_is_not_listed_is_named_with_the_list(monkeypatch):
    monkeypatch.setattr(Squash, "__module__", "torchviz_layers.convert.layers.activations")
    with pytest.raises(ConversionError, match=r"Squash: its file is missing from _MODULES in .*definitions\.py"):
        constructor_expression(Squash(), {}, "")
