"""The process that runs the parts of the CUDA suite, and what becomes of it: with stand-ins that import no torch."""

import argparse
import os
import signal
import subprocess
import sys
import textwrap
import time
from pathlib import Path

import pytest

from benchmarks.cuda import goals, parts, record, runner, suite
from benchmarks.report import Report

ROOT = Path(__file__).parents[1]

FAKE = """
    import json, os, signal, subprocess, sys, time
    from benchmarks.cuda.child import end_with_parent

    def report(**message):
        print(json.dumps(message), flush=True)

    end_with_parent(json.loads(sys.argv[2])["parent"])
    time.sleep(float(os.environ.get("FAKE_START", 0)))
    report(ready={"card": os.environ.get("FAKE_CARD")})
    for line in sys.stdin:
        name = line.strip()
        print("no JSON", file=sys.stderr, flush=True)
        if name != "empty":
            report(row={"name": name, "goal": "", "measured": "begun", "outcome": "reached"})
        if name == "hangs":
            open(os.environ["FAKE_PID"], "w").write(str(os.getpid()))
            time.sleep(60)
        if name == "leaves":
            own = {"start_new_session": True} if "FAKE_SESSION" in os.environ else {}
            left = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"], **own)
            open(os.environ["FAKE_PID"], "w").write(str(left.pid))
            os._exit(3)
        if name == "dies":
            print("the last words", file=sys.stderr)
            os._exit(3)
        if name == "crashes":
            os.kill(os.getpid(), signal.SIGSEGV)
        if name == "prints":
            print("no JSON\\n3\\n{}\\n" + json.dumps({"other": 1}), flush=True)
            os.write(1, b"\\xff\\n")
        if name == "raises":
            print("Traceback of it", file=sys.stderr, flush=True)
            report(failed="ValueError: no")
            continue
        report(done=True)
"""
NAMES = ["raises", "hangs", "dies", "crashes", "empty", "prints", "leaves", "works"]


@pytest.fixture
def options(tmp_path):
    return argparse.Namespace(only=None, device="cpu", quick=True, data=None, minutes=1.0, json=tmp_path / "results")


@pytest.fixture
def fake_parts(tmp_path, monkeypatch):
    """Stand-ins for the parts and for the process that runs them."""
    made = "from benchmarks.cuda.parts import Part\nPARTS = {name: Part('part ' + name, '', 1.0) for name in NAMES}"
    (tmp_path / "fake_parts.py").write_text(f"NAMES = {NAMES!r}\n{made}\n")
    (tmp_path / "fake_worker.py").write_text(textwrap.dedent(FAKE))
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setenv("PYTHONPATH", f"{tmp_path}{os.pathsep}{ROOT}")
    monkeypatch.setenv("FAKE_PID", str(tmp_path / "pid"))
    monkeypatch.setattr(runner, "WORKER", "fake_worker")
    yield "fake_parts"
    sys.modules.pop("fake_parts", None)


def gone(pid):
    """Wait until a process has ended; one that is a zombie, which nobody waits for here, has."""
    for _ in range(50):
        try:
            if Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z":
                return True
        except (FileNotFoundError, ProcessLookupError):
            return True
        time.sleep(0.1)
    return False


def test_the_other_parts_run_where_one_raises_hangs_or_dies(options, fake_parts, capsys):
    options.only = ["raises", "hangs", "dies", "crashes", "empty", "works"]
    assert suite.main(options, fake_parts) == 1
    lines = capsys.readouterr().out.splitlines()
    assert [line.split(":")[0].split() for line in lines[:-2]] == [
        ["reached", "raises"],
        ["failed", "part", "raises"],
        ["reached", "hangs"],
        ["failed", "part", "hangs"],
        ["reached", "dies"],
        ["failed", "part", "dies"],
        ["reached", "crashes"],
        ["failed", "part", "crashes"],
        ["failed", "part", "empty"],
        ["reached", "works"],
    ]
    assert "ValueError: no" in lines[1]
    assert "took longer than 1 s" in lines[3]
    assert "exit status 3, the last words" in lines[5]
    assert "killed by SIGSEGV" in lines[7]
    assert "it yielded no goal" in lines[8]
    assert lines[-1].startswith("5 reached, 5 failed")
    saved = Report.load(options.json / "rehearsal.json")
    assert len(saved.tables[0].rows) == 10
    assert [row["name"] for row in saved.tables[1].rows] == options.only
    assert saved.settings["unfinished"] == []
    log = (options.json / "rehearsal.log").read_text()
    assert "==== part raises\npart raises: ValueError: no\nno JSON\nTraceback of it\n" in log
    assert "the last words" in log
    assert "works" not in log


def test_parts_that_work_end_well_and_leave_no_log(options, fake_parts):
    options.only = ["works"]
    options.json.mkdir()
    (options.json / "rehearsal.log").write_text("an older run's")
    assert suite.main(options, fake_parts) == 0
    assert not (options.json / "rehearsal.log").exists()


def test_what_else_is_printed_is_no_result(options, fake_parts, capsys):
    options.only = ["prints", "works"]
    assert suite.main(options, fake_parts) == 0
    assert capsys.readouterr().out.splitlines()[-1].startswith("2 reached")


def test_a_part_begins_once_its_process_is_ready(options, fake_parts, monkeypatch):
    monkeypatch.setenv("FAKE_START", "1.5")  # the part has one second
    options.only = ["works"]
    assert suite.main(options, fake_parts) == 0


def test_a_process_that_does_not_start_fails_its_part(options, fake_parts, monkeypatch, capsys):
    monkeypatch.setenv("FAKE_START", "30")
    monkeypatch.setattr(runner, "_START", 0.3)
    options.only = ["works"]
    assert suite.main(options, fake_parts) == 1
    assert "the process did not start: it took longer than 0 s" in capsys.readouterr().out


def test_parts_begin_within_the_minutes_only(options, fake_parts, capsys):
    options.minutes = 0.0
    assert suite.main(options, fake_parts) == 0
    assert capsys.readouterr().out.count("not measured") == len(NAMES) + 1  # a line each, and the last
    assert Report.load(options.json / "rehearsal.json").settings["unfinished"] == NAMES


def test_a_part_that_the_minutes_cut_off_has_not_failed(options, fake_parts, capsys):
    options.only, options.minutes = ["hangs"], 0.01
    assert suite.main(options, fake_parts) == 0
    assert "part hangs: the minutes were over" in capsys.readouterr().out
    assert Report.load(options.json / "rehearsal.json").settings["unfinished"] == ["hangs"]


@pytest.mark.skipif(sys.platform != "linux", reason="looks into /proc")
def test_what_a_part_has_started_ends_with_its_process(options, fake_parts, tmp_path):
    options.only = ["leaves", "works"]
    began = time.monotonic()
    assert suite.main(options, fake_parts) == 1
    assert time.monotonic() - began < 20  # the pipe that it inherited would be open for a minute
    assert gone((tmp_path / "pid").read_text())


@pytest.mark.skipif(sys.platform != "linux", reason="looks into /proc")
def test_a_process_in_a_session_of_its_own_does_not_hold_the_suite_up(options, fake_parts, tmp_path, monkeypatch):
    monkeypatch.setenv("FAKE_SESSION", "1")
    monkeypatch.setattr(runner, "_JOIN", 0.2)
    options.only = ["leaves", "works"]
    began = time.monotonic()
    try:
        assert suite.main(options, fake_parts) == 1
        assert time.monotonic() - began < 20
    finally:
        os.kill(int((tmp_path / "pid").read_text()), signal.SIGKILL)


@pytest.mark.skipif(sys.platform != "linux", reason="looks into /proc")
@pytest.mark.usefixtures("fake_parts")
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL])
def test_a_suite_that_is_stopped_leaves_nothing_behind(tmp_path, number):
    code = f"""
        import argparse, sys
        from pathlib import Path
        from benchmarks.cuda import runner, suite
        runner.WORKER = "fake_worker"
        options = argparse.Namespace(only=["hangs", "works"], device="cpu", quick=True, data=None, minutes=1.0)
        options.json = Path({str(tmp_path)!r})
        from fake_parts import PARTS
        PARTS["hangs"] = PARTS["hangs"]._replace(limit=50.0)
        assert "torch" not in sys.modules
        sys.exit(suite.main(options, "fake_parts"))
    """
    process = subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(code)], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    pid = tmp_path / "pid"
    for _ in range(100):
        if pid.exists() and pid.read_text():
            break
        time.sleep(0.1)
    process.send_signal(number)
    said, errors = process.communicate(timeout=30)
    assert errors == ""
    assert gone(pid.read_text())
    if number != signal.SIGKILL:
        assert process.returncode == 128 + number
        last = said.splitlines()[-1]
        assert last.startswith(f"stopped by {number.name}; 1 reached; ")
        assert last.endswith(str(tmp_path / "rehearsal.json"))
        assert Report.load(tmp_path / "rehearsal.json").settings["unfinished"] == ["hangs", "works"]


def test_results_are_named_after_the_card_and_replace_full_ones_by_full_ones(options, fake_parts, monkeypatch):
    monkeypatch.setenv("FAKE_CARD", "NVIDIA H200")
    options.only = ["works"]
    suite.main(options, fake_parts)
    assert [path.name for path in options.json.iterdir()] == ["nvidia-h200-cuda-quick-partial.json"]
    assert record.file_name("NVIDIA H200") == "nvidia-h200-cuda.json"
    assert record.file_name("NVIDIA H200", quick=True) == "nvidia-h200-cuda-quick.json"
    assert record.file_name("NVIDIA H200", partial=True) == "nvidia-h200-cuda-partial.json"


def test_results_move_to_the_cards_file_once_its_name_is_known(tmp_path, capsys):
    settings = {"device": "cuda", "quick": False, "only": None}
    kept = record.Record(tmp_path, settings, ["one"])
    kept.add(runner.without_result(parts.Part("one", "", 1.0), goals.FAILED, "no start"))
    kept.log("one", "why")
    assert {path.name for path in tmp_path.iterdir()} == {"an-unknown-card-cuda.json", "an-unknown-card-cuda.log"}
    kept.environment = {"card": "A"}
    kept.finish(None)
    assert {path.name for path in tmp_path.iterdir()} == {"a-cuda.json", "a-cuda.log"}
    assert capsys.readouterr().out.endswith(f"{tmp_path / 'a-cuda.json'}; {tmp_path / 'a-cuda.log'}\n")


def test_an_unknown_part_is_named(options, capsys):
    options.only = ["nieghbors"]
    assert suite.main(options) == 2
    assert "nieghbors: there are neighbors, " in capsys.readouterr().err


def test_a_folder_that_cannot_be_made_is_named_before_anything_runs(options, fake_parts, tmp_path, capsys):
    file = tmp_path / "file"
    file.write_text("")
    for place in (file, file / "inside"):
        options.json = place
        assert suite.main(options, fake_parts) == 2
        said = capsys.readouterr()
        assert said.out == ""
        assert len(said.err.splitlines()) == 1
        assert f"--json {place}: " in said.err
