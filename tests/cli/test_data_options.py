"""The samples on the command line: what `--data` and the options beside it name, in every command."""

import re
import sys
from pathlib import Path

import numpy as np
import pytest

from tests.command_line import command_line
from torchviz_layers import Activations
from torchviz_layers.live.source import open_source

N = 40
MODELS = """
import torch
from torch import nn

def net(inputs=3, outputs=2):
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(inputs, 8), nn.ReLU(), nn.Linear(8, outputs)).eval()

def two(): return net(2)
def one(): return net(outputs=1)
def labels(): return net(outputs=4)
def curve(): return nn.Sequential(nn.Conv1d(2, 4, 5), nn.AdaptiveAvgPool1d(1), nn.Flatten(), nn.Linear(4, 2)).eval()

class Words(nn.Module):
    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.embed, self.head = nn.Embedding(50, 6), nn.Linear(6, 2)
    def forward(self, input_ids):
        return self.head(self.embed(input_ids).mean(1))
"""
DATA = """
import numpy as np
import torch
from torchviz_layers import Samples

rng = np.random.default_rng(0)
rows = rng.normal(size=(40, 3)).astype("f4")
kinds = np.arange(40) % 2

def classes(): return rows, ["zebra" if kind else "ant" for kind in kinds]
def values(): return rows, rows[:, 0] * 2.5 + 1
def ages(): return rows, np.arange(40)
def sets(): return rows, rng.integers(0, 2, (40, 4))
def unlabelled(): return rows, np.where(np.arange(40) < 10, -100, kinds)
def series(): return rng.normal(size=(40, 2, 60)).astype("f4"), kinds
def sentences():
    texts = [f"sentence number {i}" for i in range(40)]
    def tokenizer(batch, **_):
        return {"input_ids": torch.tensor([[len(text), int(text.split()[-1])] for text in batch])}
    return Samples.of(texts, targets=kinds, tokenizer=tokenizer)
def broken(): raise KeyError("the file is gone")
def none(): pass
def wrong(): return object()
"""


@pytest.fixture
def run(monkeypatch, tmp_path, capsys):
    """Run the command line in a folder with models and data of the user's; return its exit code, output and errors."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "nets.py").write_text(MODELS)
    (tmp_path / "mine.py").write_text(DATA)
    # The command finds the folder that it runs in, and no other test does.
    monkeypatch.setattr(sys, "path", [p for p in sys.path if p not in ("", str(tmp_path))])
    yield command_line(monkeypatch, capsys)
    for module in ("nets", "mine"):
        sys.modules.pop(module, None)


@pytest.fixture
def table(tmp_path):
    """A table with two features, an age, a place, and the kind of each row."""
    rng = np.random.default_rng(1)
    lines = ["width,height,age,place,kind"]
    for i in range(N):
        width, height = rng.normal(size=2)
        lines.append(f"{width},{height},{20 + i},{'east' if i % 3 else 'west'},{'ant' if i % 2 else 'bee'}")
    (tmp_path / "table.csv").write_text("\n".join(lines) + "\n")


def page(run, words: str) -> tuple[str, str]:
    """Return what `explore` printed and the page that it wrote."""
    code, out, err = run(f"explore {words} --reducer pca")
    assert code == 0, err
    return out, Path(out.splitlines()[-1]).read_text()


@pytest.mark.parametrize(
    ("model", "data", "line"),
    [
        ("nets:net", "mine:classes", r"net: accuracy [01]\.\d{4} on classes, 40 samples"),
        ("nets:one", "mine:values", r"one: R² -?\d\.\d{4}, mean absolute error [\d.]+ on values, 40 samples"),
        ("nets:labels", "mine:sets", r"labels: exact match 0\.\d{4}, accuracy of a label 0\.\d{4} on sets, 40 samples"),
        ("nets:net", "mine:unlabelled", r"net: accuracy 0\.\d{4} on unlabelled, 40 samples \(10 .*without a label\)"),
        ("nets:curve", "mine:series", r"curve: accuracy 0\.\d{4} on series, 40 samples"),
        ("nets:Words", "mine:sentences", r"Words: accuracy 0\.\d{4} on \w+, 40 samples"),
        ("nets:one", "mine:classes", r"one is shown without predictions|one: accuracy"),
    ],
)
def test_explore_takes_what_a_function_returns_and_says_how_well_it_is_predicted(run, model, data, line):
    out, _ = page(run, f"{model} --data {data}")
    assert re.search(line, out), out


def test_the_order_of_classes_that_was_assumed_is_said_and_can_be_given(run):
    said = "the classes are taken in sorted order (ant, zebra)"
    out, _ = page(run, "nets:net --data mine:classes")
    assert said in out
    out, _ = page(run, "nets:net --data mine:classes --class-names 'zebra, ant'")
    assert "sorted order" not in out
    code, out, err = run("extract nets:net --data mine:classes --layers -1 --out a.zarr")
    assert code == 0, err
    assert said in out
    assert out.splitlines()[-1] == "a.zarr"


def test_whole_numbers_are_values_if_the_task_says_so(run):
    out, _ = page(run, "nets:one --data mine:ages --task regression")
    assert "one: R² " in out


@pytest.mark.usefixtures("table")
def test_a_table_has_its_target_and_columns_that_are_not_fed_by_name(run):
    out, html = page(run, "nets:two --data table.csv --target kind --columns age")
    assert "two: accuracy" in out
    for word in ("width", "age", "place", "west", "bee"):
        assert word in html
    code, _, err = run("explore nets:two --data table.csv --target kind --reducer pca")
    assert code == 1  # three numbers are fed without --columns
    assert re.search(r"two: samples of shape \(3,\) do not go through", err), err


def test_several_columns_of_a_table_are_several_labels(run, tmp_path):
    lines = ["a,b,c,red,round", *(f"{i},{i % 7},{i % 5},{i % 2},{int(i % 3 == 0)}" for i in range(N))]
    (tmp_path / "sets.csv").write_text("\n".join(lines) + "\n")
    out, html = page(run, "nets:net --data sets.csv --target red,round")
    assert "net: exact match" in out
    assert "round" in html


def test_three_models_share_one_pass(run):
    out, _ = page(run, "a=nets:net b=nets:net c=nets:net --data mine:classes --layers -1 --batch-size 7")
    shares = re.findall(r"^[abc]: accuracy (\S+)", out, re.M)
    assert len(shares) == 3
    assert len(set(shares)) == 1  # one and the same network


def test_thirteen_models_are_too_many(run):
    models = " ".join(f"m{i}=nets:net" for i in range(13))
    code, _, err = run(f"explore {models} --data mine:classes")
    assert code == 2
    assert "13 models: a page shows at most" in err


def test_pool_is_chosen_for_explore_as_for_extract(run):
    _, flat = page(run, "nets:curve --data mine:series --layers 0")
    assert "4 × 56" in flat
    _, pooled = page(run, "nets:curve --data mine:series --layers 0 --pool gap")
    assert "4 × 56" not in pooled
    assert run("explore nets:curve --data mine:series --pool middle")[0] == 1


def test_layers_lists_the_layers_for_samples_of_any_kind(run):
    code, out, err = run("layers nets:curve --data mine:series")
    assert code == 0, err
    assert "1 x 4 x 56" in out


@pytest.mark.parametrize(
    ("words", "code", "message"),
    [
        ("--data mine:broken", 1, r"data 'mine:broken' failed: KeyError: .*the file is gone"),
        ("--data mine:none", 1, "data 'mine:none' returned None"),
        ("--data mine:wrong", 1, "data 'mine:wrong': data of type object"),
        ("--data mine:absent", 1, "'mine' has no 'absent'"),
        ("--data absent.csv", 1, r"absent\.csv"),
        ("--data nothing", 1, r"'nothing' is no dataset: expected a name .*\.parquet"),
        ("--data mine:classes --target kind", 1, "targets='kind' names a column, but the data have none"),
        ("--data mine:classes --columns age", 1, "columns"),
        ("--data digits --columns age", 1, r"columns=\['age'\]: digits has no columns"),
        ("--data digits --target a,b", 1, r"targets=\['a', 'b'\]: digits has no columns"),
        ("--data mine:classes --columns age,", 2, "--columns 'age,': expected names separated by commas"),
        ("--data mine:classes --class-names ,", 2, "--class-names ',': expected names"),
        ("--data mine:classes --class-names ant", 1, "'zebra' is none of the 1 class names"),
        ("--data mine:classes --task ranking", 2, "ranking"),
        ("--data mine:classes --task regression", 1, "task='regression'"),
        ("--data mine:classes --transform pad=2", 1, r"net: --transform pad=2 is for pictures"),
        ("--data mine:series", 1, r"net: .*\(2, 60\)"),
        ("", 2, r"--data is missing.*\.parquet.*package\.module:make"),
    ],
)
@pytest.mark.parametrize("command", ["explore", "extract"])
def test_wrong_values_are_one_line_that_names_them_and_leave_nothing_behind(run, command, words, code, message):
    given, out, err = run(f"{command} nets:net {words} --out out.zarr")
    assert given == code, err
    assert re.search(message, " ".join(err.split())), err
    assert "Traceback" not in out + err
    assert code == 2 or len(err.strip().splitlines()) == 1
    assert not Path("out.zarr").exists()


def test_a_store_of_any_task_is_served_with_its_data_and_without(run):
    for model, data, options, task in (
        ("one", "values", "", "regression"),
        ("one", "ages", "--task regression", "regression"),
        ("labels", "sets", "", "multilabel"),
        ("net", "classes", "--class-names zebra,ant", "classification"),
    ):
        code, _, err = run(f"extract nets:{model} --data mine:{data} {options} --out {data}.zarr")
        assert code == 0, err
        acts = Activations.load(f"{data}.zarr")
        source = open_source(acts)
        assert source.task == task
        assert len(source.targets) == N
    assert source.labels.class_names == ("zebra", "ant")


def test_a_store_of_texts_is_served_with_them(run):
    code, _, err = run("extract nets:Words --data mine:sentences --out texts.zarr --layers embed")
    assert code == 0, err
    from mine import sentences  # of the folder that the command ran in

    source = open_source("texts.zarr", sentences())
    assert source.shown.texts[7] == "sentence number 7"
    assert list(source.layers) == ["embed"]


def test_embed_writes_targets_of_any_task(run):
    assert run("extract nets:one --data mine:values --out values.zarr --layers -1")[0] == 0
    code, _, err = run("embed values.zarr --reducer pca --out table.npz")
    assert code == 0, err
    written = np.load("table.npz")
    assert written["target"].dtype.kind == "f"
