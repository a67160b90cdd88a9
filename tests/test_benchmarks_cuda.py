"""The suite that checks a CUDA card, rehearsed on the CPU."""

import argparse
import io
import json
import os
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest
import torch

from benchmarks import tables
from benchmarks.cuda import bench, suite, worker
from benchmarks.cuda.parts import PARTS
from benchmarks.report import Report, Table
from torchviz_layers.neighbors import knn

ROOT = Path(__file__).parents[1]


def rehearse(folder, *only, **environment):
    command = [sys.executable, "-m", "benchmarks", "cuda", "--device", "cpu", "--quick", "--json", str(folder)]
    ran = subprocess.run(
        [*command, "--only", *only], cwd=ROOT, env=os.environ | environment, capture_output=True, text=True, check=False
    )
    return ran, Report.load(folder / "rehearsal.json")


def test_every_part_runs_without_zarr_bokeh_and_umap_learn(tmp_path):
    absent = "import sys\nfor name in ('zarr', 'bokeh', 'umap'):\n    sys.modules[name] = None\n"
    (tmp_path / "sitecustomize.py").write_text(absent)
    ran, report = rehearse(tmp_path, *PARTS, PYTHONPATH=f"{tmp_path}{os.pathsep}{ROOT}")
    assert ran.returncode == 0, ran.stdout + ran.stderr
    goals, took = (table.rows for table in report.tables)
    assert [row["name"] for row in took] == list(PARTS)
    assert {row["outcome"] for row in goals} == {"reached", "not measured"}
    assert len(ran.stdout.splitlines()) == len(goals) + 2  # a line a goal, and what they come to
    told = {row["measured"] for row in goals}
    assert {"Bokeh is not installed", "umap-learn is not installed", "cuML is not installed"} <= told


@pytest.mark.slow
def test_every_part_runs_on_the_cpu(tmp_path):
    ran, report = rehearse(tmp_path, *PARTS)
    assert ran.returncode == 0, ran.stdout + ran.stderr
    assert {row["outcome"] for row in report.tables[0].rows} == {"reached", "not measured"}


FAKE = """
    import json, os, sys, time
    for line in sys.stdin:
        name = line.strip()
        print(json.dumps({"row": {"name": name, "goal": "", "measured": "begun", "outcome": "reached"}}), flush=True)
        if name == "hangs":
            time.sleep(60)
        if name == "dies":
            print("the last words", file=sys.stderr)
            os._exit(3)
        print(json.dumps({"failed": "ValueError: no"} if name == "raises" else {"done": True}), flush=True)
"""


@pytest.fixture
def options(tmp_path):
    return argparse.Namespace(only=None, device="cpu", quick=True, data=None, minutes=1.0, json=tmp_path / "results")


@pytest.fixture
def fake_parts(tmp_path, monkeypatch):
    """Stand-ins for the parts and for the process that runs them."""
    names = "from benchmarks.cuda.suite import Part\nPARTS = {name: Part('part ' + name, None, 1.0) for name in NAMES}"
    (tmp_path / "fake_parts.py").write_text(f"NAMES = {['raises', 'hangs', 'dies', 'works']!r}\n{names}\n")
    (tmp_path / "fake_worker.py").write_text(textwrap.dedent(FAKE))
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    monkeypatch.setattr(suite, "WORKER", "fake_worker")
    yield "fake_parts"
    sys.modules.pop("fake_parts", None)


def test_the_other_parts_run_where_one_raises_hangs_or_dies(options, fake_parts, capsys):
    assert suite.main(options, fake_parts) == 1
    lines = capsys.readouterr().out.splitlines()
    assert [line.split(":")[0].split() for line in lines[:7]] == [
        ["reached", "raises"],
        ["failed", "part", "raises"],
        ["reached", "hangs"],
        ["failed", "part", "hangs"],
        ["reached", "dies"],
        ["failed", "part", "dies"],
        ["reached", "works"],
    ]
    assert "ValueError: no" in lines[1]
    assert "took longer than 1 s" in lines[3]
    assert "exit status 3, the last words" in lines[5]
    assert lines[-1].startswith("4 reached, 3 failed")
    saved = Report.load(options.json / "rehearsal.json")
    assert len(saved.tables[0].rows) == 7
    assert [row["name"] for row in saved.tables[1].rows] == ["raises", "hangs", "dies", "works"]


def test_parts_that_work_end_well(options, fake_parts):
    options.only = ["works"]
    assert suite.main(options, fake_parts) == 0


def test_parts_begin_within_the_minutes_only(options, fake_parts, capsys):
    options.minutes = 0.0
    assert suite.main(options, fake_parts) == 0
    assert capsys.readouterr().out.count("not measured") == 5  # a line each, and the last


def test_an_unknown_part_is_named(options):
    options.only = ["nieghbors"]
    with pytest.raises(SystemExit, match="nieghbors: there are neighbors, "):
        suite.main(options)


def test_results_are_kept_where_a_part_raises(tmp_path, monkeypatch):
    (tmp_path / "raising.py").write_text(
        "from benchmarks.cuda.suite import Part\n"
        "def part(bench):\n"
        "    yield bench.judge('one', 'more', 'enough', True)\n"
        "    raise KeyError('two')\n"
        "PARTS = {'part': Part('it', part, 1.0)}\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setattr(sys, "argv", ["", "raising", '{"device": "cpu", "quick": true, "data": null}'])
    monkeypatch.setattr(sys, "stdin", io.StringIO("part\n"))
    monkeypatch.setattr(sys, "stdout", said := io.StringIO())
    worker.main()
    first, second = map(json.loads, said.getvalue().splitlines())
    assert first["row"]["outcome"] == "reached"
    assert second == {"failed": "KeyError: 'two'"}


def test_times_are_a_cards_to_judge_and_results_are_anyones():
    on_cpu = bench.Bench(torch.device("cpu"))
    assert on_cpu.judge_speed("n", "g", "m", False).outcome == "not measured"
    assert on_cpu.judge("n", "g", "m", False).outcome == "missed"
    assert bench.Bench(torch.device("cuda")).judge_speed("n", "g", "m", False).outcome == "missed"


def test_the_made_up_rows_have_neighbourhoods():
    X, clouds = bench.made_up(3_000, 64, torch.device("cpu"))
    near, _ = knn(X, 15, device="cpu", method="exact")
    assert (clouds.numpy()[near] == clouds.numpy()[:, None]).mean() > 0.9


def test_documents_show_every_card_that_was_measured(tmp_path):
    text = "before\n<!-- cards -->\nold\n<!-- /cards -->\n"
    assert tables.rendered(text, tmp_path).split("\n")[2] == "No card has been measured yet."
    row = {"name": "UMAP", "goal": "fast", "measured": "2 times", "outcome": "reached", "seconds": 0.5, "peak_mb": 9.0}
    where = {"card": "A card", "date": "today", "commit": "abc", "driver": "1", "versions": {"torch": "2"}}
    assert suite.file_name("A card") == "a-card-cuda.json"
    Report("cuda", {}, where, [Table("goals", "t", [row])]).save(tmp_path / suite.file_name("A card"))
    shown = tables.rendered(text, tmp_path)
    assert "### A card\n\ntoday, commit abc, driver 1, torch 2." in shown
    assert "| UMAP | fast | 2 times | reached | 0.500 | 9.000 |" in shown
