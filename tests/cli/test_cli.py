import re
import sys
import warnings
from pathlib import Path

import numpy as np
import pytest

from tests.command_line import command_line
from torchviz_layers import Activations
from torchviz_layers.models import bundled_path


@pytest.fixture
def run(monkeypatch, tmp_path, capsys):
    """Run the command line in an empty folder; return its exit code, output and error output."""
    monkeypatch.chdir(tmp_path)
    return command_line(monkeypatch, capsys)


@pytest.fixture
def no_mnist(monkeypatch, tmp_path):
    monkeypatch.delenv("TORCHVIZ_LAYERS_DATA", raising=False)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))


@pytest.mark.usefixtures("no_mnist", "few_digits")
def test_demo_without_mnist_says_so_shows_digits_and_ends_with_the_pages_path(run):
    code, out, err = run("demo")
    assert code == 0, err
    assert "out of distribution" in out
    assert re.search(r"dense128: accuracy 0\.\d{4}", out)
    assert re.search(r"LeNet60: accuracy 0\.\d{4}", out)
    assert out.splitlines()[-1] == str(Path("demo/index.html"))
    assert "<title>" in Path("demo/index.html").read_text()


def test_explore_shows_the_models_by_the_names_they_are_given(run):
    words = "explore a=mnist_dense128 mnist_lenet60 --data digits --limit 200 --reducer pca --layers -1 --out p/x.html"
    code, out, err = run(words)
    assert code == 0, err
    assert "a: accuracy" in out
    assert "mnist_lenet60: accuracy" in out
    assert out.splitlines()[-1] == str(Path("p/x.html"))


def test_explore_fits_images_to_a_converted_file_only_where_nothing_is_lost_and_says_it(run, data_dir):
    file = data_dir / "keras/corpus/tonio73__MNIST_LeNet60.h5"
    code, out, err = run(f"explore 'net={file}' --data digits --limit 100 --reducer pca --layers -1")
    assert code == 0, err
    assert "net: images (1, 28, 28) fit by --transform pad=2" in out


def test_layers_lists_every_layer_in_call_order(run):
    code, out, _ = run("layers mnist_lenet60 --data digits")
    assert code == 0
    names = ["conv_0", "average_pooling2d", "conv_1", "average_pooling2d_1", "flatten", "dense_0", "dense_1", "dense_2"]
    places = [re.search(rf"\b{name}\b", out).start() for name in names]
    assert places == sorted(places)
    assert run("layers mnist_lenet60 --input-shape 1,32,32")[1] == out


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ("explore mnist_lenet60 --data mnistt", "mnistt"),
        ("explore mnist_lenet61 --data digits", "mnist_lenet61"),
        ("explore absent.h5 --data digits", r"absent\.h5"),
        ("explore mnist_lenet60 --data digits --limit 50 --layers conv_9", "conv_9"),
        ("explore mnist_lenet60 --data digits --limit 50 --reducer umapp", "umapp"),
        ("explore mnist_lenet60 --data digits --limit 50 --transform none", r"\(1, 28, 28\).*\(1, 32, 32\)"),
        ("explore mnist_lenet60 --data digits --limit 50 --device tpu", "tpu"),
        ("explore a=mnist_lenet60 a=mnist_dense128 --data digits", "both called 'a'"),
        ("explore mnist_lenet60 --data digits --limit 1", "at least two samples, got 1"),
        ("explore mnist_lenet60 --data ''", "'' is no dataset"),
        ("explore mnist_lenet60 --data digits --limit 50 --transform flatten", r"\(784,\).*\(1, 32, 32\)"),
        ("explore mnist_lenet60 --data digits --limit 50 --device mps", "'mps': this machine"),
        ("layers nonsense", "not found"),
        ("layers mnist_lenet60 --data digits --transform pad=1", r"\(1, 30, 30\).*\(1, 32, 32\)"),
        ("extract mnist_lenet60 --data digits --transform pad=1 --out a.zarr", r"\(1, 30, 30\).*\(1, 32, 32\)"),
    ],
)
def test_wrong_input_is_one_line_that_names_it_and_leaves_nothing_behind(run, words, message):
    code, out, err = run(words)
    assert code == 1
    assert re.search(message, err), err
    assert len(err.strip().splitlines()) == 1
    assert "Traceback" not in out + err
    assert not list(Path.cwd().rglob("*.html"))


def test_unwritable_folder_is_refused_before_the_work(run, monkeypatch):
    Path("file").write_text("in the way")
    monkeypatch.setattr("torchviz_layers.pipeline.visualize_layers", lambda *_, **__: pytest.fail("worked in vain"))
    code, _, err = run("explore mnist_lenet60 --data digits --limit 50 --out file/page.html")
    assert code == 1
    assert "file" in err


def test_nan_in_the_activations_names_the_layer(run, tmp_path, monkeypatch):
    (tmp_path / "broken_net.py").write_text(
        "import torch\n"
        "class Log(torch.nn.Module):\n    def forward(self, x):\n        return x.flatten(1).log() * 0\n"
        "def make():\n    return torch.nn.Sequential(Log())\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    code, _, err = run("explore broken_net:make --data digits --limit 50")
    assert code == 1
    assert "'0'" in err
    assert "NaN" in err


def test_ctrl_c_ends_with_130_and_no_half_written_page(run, monkeypatch):
    def interrupted(*_, **__):
        raise KeyboardInterrupt

    monkeypatch.setattr("torchviz_layers.pipeline.stages.embed", interrupted)
    code, _, err = run("explore mnist_lenet60 --data digits --limit 50 --layers -1")
    assert code == 130
    assert "interrupted" in err
    assert [p for p in Path.cwd().rglob("*") if p.is_file()] == []


def test_debug_shows_the_traceback(run):
    with pytest.raises(Exception, match="nonsense"):
        run("--debug layers nonsense")


@pytest.mark.parametrize(("words", "code"), [("--help", 0), ("--version", 0), ("explore", 2), ("no-such", 2)])
def test_usage(run, words, code):
    assert run(words)[0] == code


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ("explore mnist_lenet60", "--data is missing"),
        ("extract mnist_lenet60 --out a.zarr", "--data is missing"),
        ("explore mnist_lenet60 --data digits --layers ''", "--layers ''"),
        ("explore mnist_lenet60 --data digits --layers conv_1,,-1", "--layers 'conv_1,,-1'"),
        ("explore mnist_lenet60 --data digits --weights a --weights b", "'a' 'b' for 1 models"),
        ("layers mnist_lenet60 --input-shape 1,-3,3", "--input-shape '1,-3,3'"),
        ("layers mnist_lenet60 --input-shape ''", "--input-shape ''"),
    ],
)
def test_wrong_usage_ends_with_2_and_names_the_value(run, words, message):
    code, out, err = run(words)
    assert code == 2
    assert message in err
    assert "Traceback" not in out + err


def test_each_model_may_have_layers_of_its_own_and_spaces_do_not_count(run):
    words = "explore mnist_dense128 mnist_lenet60 --data digits --limit 60 --reducer pca"
    code, _, err = run(f"{words} --layers dense_0 --layers 'dense_1, -1'")
    assert code == 0, err
    page = Path("page.html").read_text()
    assert "dense_2" in page
    assert "conv_1" not in page


@pytest.fixture
def own_model(tmp_path, monkeypatch):
    """A file in the folder one is in, of models that fail in forward in several ways."""
    (tmp_path / "own_model.py").write_text(
        "from torch import nn\n"
        "class Two(nn.Module):\n    def forward(self, a, b):\n        return a + b\n"
        "class Fails(nn.Module):\n    def forward(self, x):\n        raise KeyError('vocabulary\\nis gone')\n"
        "good = nn.Sequential(nn.Flatten(), nn.Linear(784, 10))\n"
        "double = nn.Sequential(nn.Flatten(), nn.Linear(784, 10).double())\n"
    )
    monkeypatch.setattr(sys, "path", [p for p in sys.path if p not in ("", str(Path.cwd()))])  # as a script has it
    yield
    sys.modules.pop("own_model", None)


@pytest.mark.usefixtures("own_model")
@pytest.mark.parametrize(
    ("model", "message"), [("Two", "'b'"), ("Fails", "vocabulary"), ("double", "dtype"), ("absent", "'absent'")]
)
@pytest.mark.parametrize("command", ["explore", "extract"])
def test_model_that_fails_is_one_line_that_names_it(run, command, model, message):
    code, out, err = run(f"{command} own_model:{model} --data digits --limit 20 --out out.zarr")
    assert code == 1
    assert len(err.strip().splitlines()) == 1
    assert model in err
    assert message in err
    assert "Traceback" not in out + err
    assert not Path("out.zarr").exists()


@pytest.mark.usefixtures("own_model")
def test_factory_in_the_folder_one_is_in_is_found(run):
    code, out, err = run("layers own_model:good --data digits")
    assert code == 0, err
    assert "Linear" in out


@pytest.mark.parametrize("n", [2, 3, 4, 6])
def test_a_handful_of_samples_makes_a_page(run, n):
    code, _, err = run(f"explore mnist_lenet60 --data digits --limit {n} --reducer pca --layers -1")
    assert code == 0, err


def test_npz_of_ones_own(run, tmp_path):
    rng = np.random.default_rng(0)
    np.savez(tmp_path / "own.npz", images=rng.integers(0, 255, (60, 28, 28), np.uint8), targets=rng.integers(0, 10, 60))
    code, out, err = run("explore mnist_dense128 --data own.npz --layers -1 --out own.html")
    assert code == 0, err
    assert out.splitlines()[-1] == "own.html"


def test_extract_then_embed_gives_a_row_a_sample_and_resumes_a_finished_store(run):
    words = "extract mnist_lenet60 --data digits --limit 90 --layers dense_0,-1 --out acts.zarr"
    code, out, err = run(words)
    assert code == 0, err
    assert out.splitlines()[-1] == "acts.zarr"
    assert run(words)[0] == 1  # never overwritten
    assert run(f"{words} --resume")[0] == 0
    code, out, err = run("embed acts.zarr --reducer pca --out table.npz")
    assert code == 0, err
    table = np.load("table.npz")
    assert {"id", "target", "prediction", "dense_0.x", "dense_0.y", "dense_2.x", "dense_2.y"} == set(table.files)
    assert len(table["dense_0.x"]) == 90
    assert (table["target"] == table["prediction"]).mean() > 0.5


def test_embeddings_reach_parquet_with_their_coordinates(run):
    parquet = pytest.importorskip("pyarrow.parquet", reason="the parquet extra is not installed")
    assert run("extract mnist_dense128 --data digits --limit 60 --layers -1 --out acts.zarr")[0] == 0
    code, out, err = run("embed acts.zarr --reducer pca --out table.parquet")
    assert code == 0, err
    assert out.splitlines()[-1] == "table.parquet"
    table = parquet.read_table("table.parquet")
    assert table.num_rows == 60
    assert table["dense_1.x"].to_numpy().std() > 0
    assert run("embed acts.zarr --reducer pca --out table.csv")[0] == 1
    assert run("embed nothing.zarr --reducer pca --out table.npz")[0] == 1


def test_embed_refuses_what_the_store_has_not_and_places_that_cannot_be_written_before_the_work(run, monkeypatch):
    assert run("extract mnist_dense128 --data digits --limit 60 --layers -1 --out acts.zarr")[0] == 0
    monkeypatch.setattr("torchviz_layers.reducers.embedding.embed", lambda *_, **__: pytest.fail("worked in vain"))
    Path("file").write_text("in the way")
    for words, message in {
        "--layers 7 --out table.npz": "index 7 is out of range: there are 1 layers",
        "--layers conv --out table.npz": "no activations of 'conv'; there are those of dense_1",
        "--out file/table.npz": "file/table.npz: nothing can be written there",
    }.items():
        code, _, err = run(f"embed acts.zarr {words}")
        assert code == 1
        assert message in err


@pytest.fixture
def numbered(tmp_path):
    """A network whose layers are named by numbers, other ones than their positions."""
    (tmp_path / "numbered.py").write_text(
        "from torch import nn\n"
        "def make():\n"
        "    block = nn.Sequential(nn.Linear(784, 6), nn.ReLU())\n"
        "    return nn.Sequential(nn.Flatten(), nn.Dropout(), nn.Identity(), block, nn.Linear(6, 10))\n"
    )
    yield
    sys.modules.pop("numbered", None)


@pytest.mark.usefixtures("numbered")
@pytest.mark.parametrize(
    ("layers", "names"),
    [
        ("4", {"4"}),
        ("3.1", {"3.1"}),
        ("-1,0", {"4", "0"}),
        ("'3.*'", {"3.0", "3.1"}),
        ("3", {"3"}),
    ],
)
def test_a_number_that_names_a_layer_is_that_layer(run, layers, names):
    code, _, err = run(f"extract numbered:make --data digits --limit 20 --layers {layers} --out a.zarr")
    assert code == 0, err
    assert set(Activations.load("a.zarr")) == names


@pytest.mark.usefixtures("numbered")
def test_a_number_that_names_no_layer_is_no_index_where_layers_are_named_by_numbers(run):
    words = "extract numbered:make --data digits --limit 20 --layers"
    code, _, err = run(f"{words} 5 --out a.zarr")
    assert code == 1
    assert "'5' matches no layer" in err
    assert "an index must count from the end (-1 the last)" in err
    assert run(f"{words} 1,3 --out a.zarr")[0] == 0
    for layer, names in (("1", ["1"]), ("3", ["3"]), ("-1", ["3"]), ("-2", ["1"]), ("'*'", ["1", "3"])):
        code, out, err = run(f"embed a.zarr --reducer pca --layers {layer} --out x.npz")
        assert code == 0, err
        assert [line.partition(":")[0] for line in out.splitlines()[:-1]] == names
    code, _, err = run("embed a.zarr --reducer pca --layers 0 --out x.npz")
    assert code == 1
    assert "no activations of '0'; there are those of 1, 3; layers are named by numbers here" in err


def test_indices_and_globs_choose_layers_in_every_command(run):
    extract = "extract mnist_lenet60 --data digits --limit 20 --layers 'dense_*,1' --out a.zarr"
    assert run(extract)[0] == 0
    assert list(Activations.load("a.zarr")) == ["conv_0", "dense_0", "dense_1", "dense_2"]
    code, out, err = run("embed a.zarr --reducer pca --layers 'dense_[12],0' --out x.npz")
    assert code == 0, err
    assert [line.partition(":")[0] for line in out.splitlines()[:-1]] == ["dense_1", "dense_2", "conv_0"]
    page = "explore mnist_lenet60 --data digits --limit 20 --reducer pca --layers 'dense_[12],0'"
    assert run(page)[0] == 0


def test_convert_prints_the_layers_and_writes_source_that_needs_torch_alone(run):
    file = bundled_path("MNIST_LeNet60.h5")
    code, out, err = run(f"convert {file} --source lenet.py")
    assert code == 0, err
    assert re.search(r"conv_0 +Conv2d +\S.*30.* 60\b", out)
    assert out.splitlines()[-2:] == ["lenet.safetensors", "lenet.py"]
    source = Path("lenet.py").read_text()
    assert set(re.findall(r"^(?:import|from) (\w+)", source, re.M)) - {"__future__"} == {"torch"}


def test_convert_checks_its_onnx_file_and_its_parity_with_stored_outputs(run, data_dir):
    pytest.importorskip("onnxruntime", reason="the onnx extra is not installed")
    name = "tonio73__MNIST_dense128.h5"
    reference = data_dir / "keras" / "reference" / f"{name}.npz"
    code, out, err = run(f"convert {data_dir}/keras/corpus/{name} --onnx d.onnx --reference {reference}")
    assert code == 0, err
    assert "equal within" in out
    assert "ONNX Runtime agrees" in out
    assert out.splitlines()[-1] == "d.onnx"


def test_convert_holds_the_shapes_it_is_given_to_those_of_the_file(run):
    file = bundled_path("MNIST_LeNet60.h5")
    for wrong in ("--input-shape 3,3,3", "--input-shape 1,32,32 --input-shape 1,32,32"):
        code, _, err = run(f"convert {file} {wrong}")
        assert code == 2
        assert "takes (1, 32, 32)" in err
    assert run(f"convert {file} --input-shape 1,32,32")[0] == 0


@pytest.mark.parametrize("option", ["--source", "--onnx"])
def test_convert_refuses_a_place_that_cannot_be_written(run, option):
    Path("file").write_text("in the way")
    code, out, err = run(f"convert {bundled_path('MNIST_LeNet60.h5')} {option} file/model.x")
    assert code == 1
    assert "file/model.x: nothing can be written there" in err
    assert out == ""


def test_a_warning_is_one_line_without_source(run):
    run("--version")
    assert warnings.formatwarning("few samples", UserWarning, "umap.py", 146) == "torchviz-layers: few samples\n"
