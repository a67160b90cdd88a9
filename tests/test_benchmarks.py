import argparse
import json
import os
import re
import subprocess
import sys
import time
import xml.etree.ElementTree as ET
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from benchmarks import measures, networks, peers, pictures, tables
from benchmarks.__main__ import SUITES
from benchmarks.extraction import AXES, CONTENDERS, POOLED
from benchmarks.report import Report, Table, aligned, compare, shown
from benchmarks.scaling import fitted_exponent
from benchmarks.timing import interleave, peak_above
from benchmarks.workers import Worker
from tests.rounding import whole_numbers, whole_samples
from torchviz_layers import load_model

ROOT = Path(__file__).parents[1]


@pytest.fixture
def report():
    rows = [
        {"name": "ours", "seconds": 0.5, "trustworthiness": 0.98, "repeats": [0.4, 0.5, 0.6]},
        {"name": "peer", "seconds": 2.0, "trustworthiness": 0.95, "repeats": [2.0]},
        {"name": "absent", "note": "not installed"},
    ]
    return Report("reducers", {"quick": True}, {"cpu": "some"}, [Table("pixels", "Reducers: pixels", rows)])


def test_a_saved_report_loads_equal(report, tmp_path):
    report.save(tmp_path / "deep" / "r.json")
    assert Report.load(tmp_path / "deep" / "r.json") == report
    assert [file.name for file in (tmp_path / "deep").iterdir()] == ["r.json"]


def test_text_leaves_the_raw_repeats_out(report):
    assert report.text().splitlines()[1].split() == ["name", "seconds", "trustworthiness", "note"]


@pytest.mark.parametrize(
    ("value", "text"),
    [(0.12345, "0.123"), (12.345, "12.3"), (12345.6, "12,346"), (1e-5, "1.00e-05"), (0.0, "0"), (None, "-"), (7, "7")],
)
def test_cells_show_three_digits(value, text):
    assert shown(value) == text


def test_aligned_columns_have_one_width():
    lines = aligned(["name", "x"], [{"name": "long name", "x": 1}, {"name": "b"}]).splitlines()
    assert len(set(map(len, lines))) == 1


def test_compare_gives_ratios_and_says_what_differs(report):
    faster = Report("reducers", {}, {"cpu": "other"}, [Table("pixels", "t", [{"name": "peer", "seconds": 1.0}])])
    text = compare(report, faster)
    assert re.search(r"peer +2\.000 +1\.000 +0\.500", text)
    assert "cpu: some before, other after" in text


def test_contenders_take_turns_after_a_warm_up():
    calls = []
    contenders = {name: lambda name=name: calls.append(name) for name in "ab"}
    timings = interleave(contenders, repeats=2, device="cpu")
    assert calls == ["a", "b"] * 3
    assert [len(timings[name].wall) for name in "ab"] == [2, 2]


def test_a_wrong_result_stops_the_benchmark():
    def check(name, result):
        assert result == 1, name

    with pytest.raises(AssertionError, match="wrong"):
        interleave({"right": lambda: 1, "wrong": lambda: 2}, repeats=1, device="cpu", check=check)


def test_times_are_those_of_a_known_wait():
    timing = interleave({"wait": lambda: time.sleep(0.05)}, repeats=3, device="cpu")["wait"]
    assert 0.05 <= timing.row("wait")["seconds"] < 0.5
    assert timing.row("wait")["cpu_seconds"] < 0.04


@pytest.mark.skipif(not Path("/proc/self/clear_refs").exists(), reason="the system does not count peak memory anew")
def test_peak_memory_is_that_of_a_known_array():
    with peak_above("cpu") as peak:
        np.ones(50 << 20, np.uint8)
    if peak.bytes is None:
        pytest.skip("the system does not let a process count its peak memory anew")
    assert 45 << 20 < peak.bytes < 80 << 20


def test_trustworthiness_is_scikit_learns():
    from sklearn.manifold import trustworthiness

    generator = np.random.default_rng(0)
    X, Z = generator.normal(size=(150, 8)), generator.normal(size=(150, 2))
    assert measures.trustworthiness(X, Z, k=7) == pytest.approx(trustworthiness(X, Z, n_neighbors=7), abs=1e-12)


def test_knn_accuracy_of_separate_clouds_is_one_and_of_shuffled_labels_is_chance():
    generator = np.random.default_rng(0)
    targets = np.repeat([3, 7], 200)
    Z = generator.normal(size=(400, 2)) + 20 * targets[:, None]
    assert measures.knn_accuracy(Z, targets) == 1
    assert 0.3 < measures.knn_accuracy(Z, generator.permutation(targets)) < 0.7


@pytest.mark.parametrize("power", [1, 2])
def test_exponent_of_a_power_law_is_its_power(power):
    sizes = [10, 100, 1000, 10_000]
    assert fitted_exponent(sizes, [1e-6 * n**power for n in sizes]) == pytest.approx(power)
    assert fitted_exponent([10], [1.0]) is None


@pytest.mark.parametrize(
    ("name", "by_hand", "channels"), [("dense128", networks.dense128, None), ("lenet60", networks.lenet60, 16)]
)
def test_networks_written_by_hand_answer_as_the_converted_ones(name, by_hand, channels):
    converted = load_model(f"mnist_{name}")
    images = converted.transform(torch.rand(8, 1, 28, 28))
    with torch.no_grad():
        answers = networks.copy_weights(converted, by_hand(), channels)(images)
        torch.testing.assert_close(answers, converted(images), rtol=0, atol=1e-6)


class Reused(nn.Module):
    """A module that runs twice, the second time in place."""

    def __init__(self):
        super().__init__()
        self.linear, self.relu = nn.Linear(4, 4), nn.ReLU(inplace=True)

    def forward(self, x):
        return self.relu(self.linear(self.relu(self.linear(x))))


def test_the_floor_is_right_where_a_plain_hook_is_overwritten():
    model, batches = whole_numbers(Reused()).eval(), list(whole_samples(10, 4).split(4))
    truth = peers.cloned(model, batches)
    assert list(truth) == ["linear", "relu", "linear:1", "relu:1"]
    assert (truth["linear"] < 0).any()  # before the inplace relu
    floor = peers.preallocated(model, batches)
    assert {name: torch.equal(floor[name], value) for name, value in truth.items()} == dict.fromkeys(truth, True)


def test_the_extraction_that_is_timed_includes_the_pass_over_two_samples():
    sizes, model, batches = [], whole_numbers(Reused()).eval(), list(whole_samples(10, 4).split(4))
    model.register_forward_pre_hook(lambda _module, args: sizes.append(len(args[0])))
    for name in ("ours", POOLED):
        sizes.clear()
        CONTENDERS[name](model, batches)
        assert sizes == [2, 4, 4, 2]
    sizes.clear()
    CONTENDERS[AXES](model, batches)
    assert sizes == [2]


def test_the_torchvision_peer_names_its_nodes_as_we_do():
    model, batches = networks.lenet60().eval(), [torch.rand(3, 1, 32, 32)]
    truth = peers.cloned(model, batches)
    captured = peers.torchvision_extractor(model, batches)
    assert captured.keys() == truth.keys()
    for name, value in truth.items():
        torch.testing.assert_close(captured[name], value)


def test_a_worker_answers_and_says_why_it_died():
    program = "import json, sys\nfor line in sys.stdin: print(json.dumps({'got': 1 // json.loads(line)}), flush=True)"
    worker = Worker([sys.executable, "-c", program])
    assert worker.ask(1) == {"got": 1}
    with pytest.raises(RuntimeError, match="ZeroDivisionError"):
        worker.ask(0)
    worker.close()


def test_markdown_between_markers_comes_from_the_json(report, tmp_path):
    report.save(tmp_path / "r.json")
    text = (
        "<!-- benchmark: r/pixels columns=seconds rows=peer,a* names=time -->\nold\n<!-- /benchmark -->\n"
        "It takes <!-- number: r/pixels/peer/seconds -->?<!-- /number --> s."
    )
    fresh = tables.rendered(text, tmp_path)
    assert "|  | time |\n| --- | ---: |\n| peer | 2.000 |\n| absent | not installed |\n<!--" in fresh
    assert "takes <!-- number: r/pixels/peer/seconds -->2.000<!-- /number --> s." in fresh
    assert tables.rendered(fresh, tmp_path) == fresh


def test_an_unknown_column_or_table_is_named(report, tmp_path):
    report.save(tmp_path / "r.json")
    with pytest.raises(KeyError, match="no column speed; it has name, seconds"):
        tables.rendered("<!-- benchmark: r/pixels columns=speed -->\n<!-- /benchmark -->", tmp_path)
    with pytest.raises(KeyError, match="no table 'x'; it has pixels"):
        tables.rendered("<!-- benchmark: r/x -->\n<!-- /benchmark -->", tmp_path)


@pytest.mark.parametrize(
    "file", sorted([ROOT / "README.md", *(ROOT / "docs").rglob("*.md")]), ids=lambda file: file.name
)
def test_benchmark_numbers_in_the_documents_are_those_of_the_results(file):
    text = file.read_text(encoding="utf-8")
    assert tables.rendered(text) == text, f"python -m benchmarks.tables {file.relative_to(ROOT)}"


@pytest.mark.parametrize("file", sorted((ROOT / "benchmarks" / "results").glob("*.json")), ids=lambda file: file.name)
def test_results_name_their_machine_and_claim_no_card_that_did_not_run(file):
    result = Report.load(file)
    assert result.suite in {*SUITES, "quality"}
    assert {"cpu", "cores", "threads", "commit", "versions"} <= result.environment.keys()
    assert (result.environment["card"] is not None) == (result.settings["device"] == "cuda")


def test_pictures_are_well_formed_and_hold_every_contender(report):
    picture = ET.fromstring(pictures.speed_and_quality(report))
    words = {text.text for text in picture.iter("{http://www.w3.org/2000/svg}text")}
    assert {"ours", "peer", "trustworthiness"} <= words
    assert "absent" not in words


@pytest.mark.slow
@pytest.mark.timeout(400)
def test_all_suites_run_quickly(tmp_path):
    command = [sys.executable, "-m", "benchmarks", "all", "--quick", "--json", str(tmp_path)]
    subprocess.run(command, cwd=ROOT, check=True, env=os.environ | {"PYTHONWARNINGS": "ignore"}, timeout=380)
    suites = {path.stem: json.loads(path.read_text()) for path in tmp_path.iterdir()}
    assert suites.keys() == set(SUITES)
    rows = {row["name"]: row for suite in suites.values() for table in suite["tables"] for row in table["rows"]}
    assert rows["umap-learn"]["cold_over_ours"] > 1  # loose: a busy machine must not fail it
    assert rows["one truncated model a layer"].get("note") == "not with --quick"
    assert argparse.Namespace(**suites["page"]["settings"]).quick
