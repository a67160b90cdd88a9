"""The suite that checks a CUDA card, rehearsed on the CPU."""

import os
import subprocess
import sys
import textwrap
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

import benchmarks.__main__ as command
from benchmarks import peers, tables
from benchmarks.cuda import bench, conditions, judges, maps, numbers, record, recording, search
from benchmarks.cuda.goals import MEASURED, Goal
from benchmarks.cuda.parts import PARTS
from benchmarks.report import Report, Table
from torchviz_layers.neighbors import knn
from torchviz_layers.reducers.engines import Choice

ROOT = Path(__file__).parents[1]
CPU = bench.Bench(torch.device("cpu"), quick=True)
CARD = bench.Bench(torch.device("cuda"))  # nothing runs there: only what is said of its figures


def rehearse(folder, *only, **environment):
    command = [sys.executable, "-m", "benchmarks", "cuda", "--device", "cpu", "--quick", "--json", str(folder)]
    ran = subprocess.run(
        [*command, "--only", *only], cwd=ROOT, env=os.environ | environment, capture_output=True, text=True, check=False
    )
    return ran, Report.load(folder / "rehearsal.json")


@pytest.mark.timeout(300)  # half a minute where the cores are free
def test_every_part_runs_without_zarr_bokeh_and_umap_learn(tmp_path):
    absent = "import sys\nfor name in ('zarr', 'bokeh', 'umap'):\n    sys.modules[name] = None\n"
    (tmp_path / "sitecustomize.py").write_text(absent)
    ran, report = rehearse(tmp_path, *PARTS, PYTHONPATH=f"{tmp_path}{os.pathsep}{ROOT}")
    assert ran.returncode == 0, ran.stdout + ran.stderr
    goals, took = (table.rows for table in report.tables)
    assert [row["name"] for row in took] == list(PARTS)
    assert {row["outcome"] for row in goals} == {"reached", "measured", "not measured"}
    assert len(ran.stdout.splitlines()) == len(goals) + 2  # a line a goal, and what they come to
    told = {row["measured"] for row in goals}
    assert {"Bokeh is not installed", "umap-learn is not installed", "cuML is not installed"} <= told


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_every_part_runs_on_the_cpu(tmp_path):
    ran, report = rehearse(tmp_path, *PARTS)
    assert ran.returncode == 0, ran.stdout + ran.stderr
    assert {row["outcome"] for row in report.tables[0].rows} == {"reached", "measured", "not measured"}


def test_the_command_lists_the_parts_and_wants_minutes(capsys):
    with pytest.raises(SystemExit):
        command._parser().parse_args(["--help"])
    said = " ".join(capsys.readouterr().out.split()).replace("- ", "-")  # lines end at hyphens, too
    assert all(f"{name} ({part.about})" in said for name, part in PARTS.items())
    assert command._parser().parse_args(["cuda"]).minutes == 6.0
    for wrong in ("0", "-1", "nan", "inf", "six"):
        with pytest.raises(SystemExit):
            command._parser().parse_args(["cuda", f"--minutes={wrong}"])


def test_times_are_a_cards_to_judge_in_full_size_and_results_are_anyones():
    assert CPU.judge_speed("n", "g", "m", False).outcome == "not measured"
    assert CPU.judge("n", "g", "m", False).outcome == "missed"
    assert CARD.judge_speed("n", "g", "m", False).outcome == "missed"
    quick = bench.Bench(torch.device("cuda"), quick=True)
    assert quick.judge_speed("n", "g", "2 times", False).measured == "2 times in a quick run"
    assert quick.judge_speed("n", "g", "m", True).outcome == "not measured"


def test_a_map_by_another_engine_is_a_failure(monkeypatch, capsys):
    def on_the_cpu(_engine, problem):
        Z = np.zeros((len(problem.X), 2), np.float32)
        return Choice("numba", "the CUDA card ran out of memory, so the CPU took over"), Z, None

    monkeypatch.setattr("torchviz_layers.reducers.umap.compute", on_the_cpu)
    (failed,) = maps.quality_of_many(CPU)
    assert failed.outcome == "failed"
    assert "numba ran instead of torch: the CUDA card ran out of memory" in failed.measured
    ours, beside = maps.times(CPU)
    assert (ours.outcome, beside.outcome) == ("failed", "not measured")
    assert "OtherEngineError" in capsys.readouterr().err  # for the log


def test_the_softmax_comes_with_the_classes_of_its_own_samples():
    rows, labels = bench.extracted_softmax(CPU, 60)
    assert rows.shape == (60, 10)
    np.testing.assert_array_equal(labels, CPU.samples(60).targets)


def test_many_pixels_are_of_both_splits_whatever_split_was_named(tmp_path):
    images, few = np.zeros((6_000, 28, 28), np.float32), {"images": np.zeros((9, 28, 28), np.float32)}
    np.savez(tmp_path / "few.npz", **few, targets=np.zeros(9, int))
    arrays = {f"x_{split}": images for split in ("train", "test")} | {
        f"y_{split}": np.full(6_000, number) for number, split in enumerate(("train", "test"))
    }
    np.savez(tmp_path / "many.npz", **arrays)
    on_cpu = partial(bench.Bench, torch.device("cpu"))
    what, X, labels = on_cpu(data=f"{tmp_path / 'many.npz'}:train").pixels(10_001)
    assert what.startswith("pixels of ")
    assert X.shape == (10_001, 784)
    assert set(labels.tolist()) == {0, 1}
    for data in (f"{tmp_path / 'few.npz'}:test", "digits"):
        what, X, labels = on_cpu(data=data).pixels(10_001)
        assert what == "features, made up"
        assert (X.shape, len(labels)) == ((10_001, 784), 10_001)


def test_the_made_up_rows_have_neighbourhoods():
    X, clouds = bench.made_up(3_000, 64, torch.device("cpu"))
    near, _ = knn(X, 15, device="cpu", method="exact")
    assert (clouds.numpy()[near] == clouds.numpy()[:, None]).mean() > 0.9


def test_differences_are_taken_in_tiles(monkeypatch):
    X, _ = bench.made_up(500, 20, torch.device("cpu"))
    monkeypatch.setattr(search, "_TILE_ROWS", 130)
    monkeypatch.setattr(search, "_DISTANCES", 500 * 7)
    asked = torch.arange(0, 500, 9)
    wanted, _ = knn(X, search.K, device="cpu", method="exact")
    np.testing.assert_array_equal(search.by_differences(X, asked), wanted[asked])


def test_an_extraction_that_did_not_run_out_of_memory_misses_its_goal(monkeypatch):
    monkeypatch.setattr(conditions._Hungry, "forward", lambda _self, x: x.repeat(1, 4096))
    (goal,) = conditions.out_of_memory(CPU)
    assert goal.outcome == "missed"
    assert goal.measured.startswith("halved 0 times, 0.0e+00 off")


def test_no_calls_are_no_equal_calls(monkeypatch):
    monkeypatch.setattr(peers, "leaves", lambda _model: {})
    first = next(recording._captured(CPU, "nothing", nn.Linear(2, 2), torch.ones(1, 2), torch.no_grad))
    assert (first.outcome, first.measured) == ("missed", "0 of 0 calls equal")


def test_an_epochs_time_leaves_the_preparations_out():
    class Clocked(bench.Bench):
        def clock(self, job, repeats=3):
            seconds = job()
            return {"seconds": seconds, "repeats": [seconds] * repeats, "peak_mb": None}, None

    goal = numbers._epoch(Clocked(torch.device("cpu")), "an epoch", lambda epochs, _seed: 2.0 + 0.001 * epochs)
    assert goal.figures["microseconds"] == pytest.approx(1000)
    assert goal.figures["set_up_seconds"] == pytest.approx(2)


def test_a_judge_is_at_its_word_about_what_it_was_asked():
    said = '{"begun": 1.0}\nnoise\n{"seconds": 4.0}\n'
    assert judges._verdict(said, 9.0, "exit status 0", cut_off=False) == judges.Verdict(4.0)
    failed = judges._verdict('{"failed": "MemoryError: no"}', 9.0, "exit status 1", cut_off=False)
    assert (failed.seconds, failed.why) == (None, "MemoryError: no")
    assert judges._verdict("", 9.0, "killed by SIGSEGV", cut_off=False).why == "killed by SIGSEGV"
    assert judges._verdict("", 9.0, "killed by SIGKILL", cut_off=True).why == "it was not ready after 9 s"


@pytest.fixture
def fake_judge(tmp_path, monkeypatch):
    code = """
        import json, os, sys, time
        from benchmarks.cuda.child import end_with_parent, private_results, send
        request = json.loads(sys.argv[1])
        results = private_results()
        end_with_parent(request["parent"])
        os.write(1, b"noise")
        send(results, begun=time.time())
        time.sleep(60 if request["job"] == "hangs" else 0)
        send(results, seconds=len(request["rows"]))
    """
    (tmp_path / "fake_judge.py").write_text(textwrap.dedent(code))
    monkeypatch.setenv("PYTHONPATH", f"{tmp_path}{os.pathsep}{ROOT}")
    monkeypatch.setattr(judges, "MODULE", "fake_judge")


@pytest.mark.usefixtures("fake_judge")
def test_a_judge_that_takes_long_is_cut_off():
    assert judges.ask(CPU, "ends", {"pixels": 3}, 20.0) == judges.Verdict(1)
    verdict = judges.ask(CPU, "hangs", {"pixels": 3}, 1.0)
    assert not verdict.ended
    assert 0 < verdict.seconds < 5


def test_a_judge_that_fails_says_why(capfd):
    verdict = judges.ask(CPU, "no such job", {"made_up_rows": [20, 3]}, 60.0)
    assert verdict == judges.Verdict(None, why="KeyError: 'no such job'")
    assert "KeyError" in capfd.readouterr().err  # for the log


@pytest.mark.parametrize(
    ("verdict", "seconds", "outcome", "measured"),
    [
        (judges.Verdict(2.0), 2.0, "reached", "1.00 times"),
        (judges.Verdict(2.0), 4.0, "missed", "2.00 times"),
        (judges.Verdict(2.0, ended=False), 2.0, "reached", "at most 1.00 times"),
        (judges.Verdict(2.0, ended=False), 4.0, "not measured", "cuML was cut off too early to say"),
        (judges.Verdict(None, why="MemoryError: no"), 4.0, "not measured", "cuML failed: MemoryError: no"),
        (judges.Verdict(2.0), None, "not measured", "ours failed"),
    ],
)
def test_our_time_beside_cumls(verdict, seconds, outcome, measured):
    goal = judges.at_most(CARD, "n", 1.5, seconds, "cuML", verdict)
    assert (goal.outcome, goal.measured) == (outcome, measured)


@pytest.mark.parametrize(
    ("verdict", "outcome", "measured"),
    [
        (judges.Verdict(120.0), "reached", "60.0 times"),
        (judges.Verdict(20.0), "missed", "10.0 times"),
        (judges.Verdict(120.0, ended=False), "reached", "at least 60.0 times"),
        (judges.Verdict(20.0, ended=False), "not measured", "at least 10.0 times: umap-learn was cut off too early"),
    ],
)
def test_our_time_beside_umap_learns(verdict, outcome, measured):
    goal = judges.at_least(CARD, "n", 50, 2.0, "umap-learn", verdict)
    assert goal.outcome == outcome
    assert goal.measured.startswith(measured)


def test_our_own_times_come_before_any_judge(monkeypatch):
    monkeypatch.setattr(
        maps, "_timed", lambda _bench, name, _X, _repeats: Goal(name, "", "", MEASURED, {"seconds": 1.0})
    )
    monkeypatch.setattr(maps, "_recall", lambda _bench, _X: Goal("recall", "", "", MEASURED))
    monkeypatch.setattr(maps, "_no_cuml", lambda _bench: "")
    monkeypatch.setattr(judges, "ask", lambda *_: judges.Verdict(2.0))
    for part, ours in ((maps.times, 1), (maps.million, 2)):
        assert all("cuML" not in goal.name for goal, _ in zip(part(CPU), range(ours), strict=False))
    assert [goal.figures.get("cuML_seconds") for goal in maps.million(CPU)] == [None, None, 2.0, 2.0]


CARDS = "before\n<!-- cards -->\nold\n<!-- /cards -->\n"
WHERE = {"card": "A card", "date": "today", "commit": "abc", "driver": "1", "versions": {"torch": "2"}}


def test_documents_show_every_card_that_was_measured(tmp_path):
    assert tables.rendered(CARDS, tmp_path).split("\n")[2] == "No card has been measured yet."
    row = {"name": "UMAP", "goal": "fast", "measured": "2 times", "outcome": "reached", "seconds": 0.5, "peak_mb": 9.0}
    Report("cuda", {}, WHERE, [Table("goals", "t", [row])]).save(tmp_path / record.file_name("A card"))
    Report("cuda", {}, WHERE, []).save(tmp_path / record.file_name("A card", quick=True))
    shown = tables.rendered(CARDS, tmp_path)
    assert "### A card\n\ntoday, commit abc, driver 1, torch 2.\n" in shown
    assert "| UMAP | fast | 2 times | reached | 0.500 | 9.000 |" in shown
    assert shown.count("###") == 1


def test_documents_show_what_a_card_left_out_and_take_any_text(tmp_path):
    row = {"name": "UMAP", "goal": "fast", "measured": "a | b\nc", "outcome": "failed"}
    where = WHERE | {"versions": {"torch": "2", "cuml-cu12": "25.8"}}
    settings = {"quick": True, "only": ["times"], "unfinished": ["page", "cards"]}
    Report("cuda", settings, where, [Table("goals", "t", [row])]).save(tmp_path / record.file_name("A card"))
    shown = tables.rendered(CARDS, tmp_path)
    assert "torch 2, cuml-cu12 25.8. A quick run: small sizes, and no time is judged. These parts alone" in shown
    assert "These parts did not end within the run's time: page, cards." in shown
    assert "| UMAP | fast | a \\| b c | failed |\n" in shown
