"""The process in which the parts of the CUDA suite run, and what it writes."""

import io
import json
import os
import signal
import subprocess
import sys
import textwrap
from pathlib import Path

import numpy as np

from benchmarks.cuda import child, goals, parts, runner, worker

ROOT = Path(__file__).parents[1]


def test_results_are_kept_where_a_part_raises_or_cannot_be_imported(tmp_path, monkeypatch, capsys):
    (tmp_path / "raising.py").write_text(
        "from benchmarks.cuda.goals import Goal\n"
        "def part(bench):\n"
        "    yield Goal('one', 'more', 'enough', 'reached')\n"
        "    raise KeyError('two')\n"
        "def ends(bench):\n"
        "    raise SystemExit('early')\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    functions = {"gone": "no_such_module:part", "part": "raising:part", "ends": "raising:ends"}
    listed = {name: parts.Part(name, function, 1.0) for name, function in functions.items()}
    messages = []
    worker.serve(listed, None, list(listed), lambda **message: messages.append(message))
    missing, row, raised, ended = messages
    assert missing == {"failed": "ModuleNotFoundError: No module named 'no_such_module'"}
    assert row["row"]["outcome"] == "reached"
    assert raised == {"failed": "KeyError: 'two'"}
    assert ended == {"failed": "SystemExit: early"}
    assert "KeyError: 'two'" in capsys.readouterr().err  # for the log


def test_every_part_can_be_imported():
    for part in parts.PARTS.values():
        assert callable(part.load())


NOISY = """
    import os, subprocess, sys, time
    from benchmarks.cuda.goals import Goal
    from benchmarks.cuda.parts import Part

    def noisy(bench):
        os.write(1, b"from C\\n")
        subprocess.run([sys.executable, "-c", "print('from a child')"], check=True)
        print("from Python")
        yield Goal("noise", "none", "some", "reached")

    def hangs(bench):
        yield Goal("begun", "", "", "measured")
        time.sleep(60)

    PARTS = {"noisy": Part("noise", "noisy_parts:noisy", 1.0), "hangs": Part("hangs", "noisy_parts:hangs", 1.0)}
"""


def test_the_worker_keeps_results_apart_and_ends_with_its_input(tmp_path):
    (tmp_path / "noisy_parts.py").write_text(textwrap.dedent(NOISY))
    settings = {"device": "cpu", "quick": True, "data": None, "parent": os.getpid()}
    process = subprocess.Popen(
        [sys.executable, "-m", runner.WORKER, "noisy_parts", json.dumps(settings)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=os.environ | {"PYTHONPATH": f"{tmp_path}{os.pathsep}{ROOT}"},
        start_new_session=True,
    )
    try:
        process.stdin.write("noisy\nhangs\n")
        process.stdin.flush()
        kinds = [next(iter(json.loads(process.stdout.readline()))) for _ in range(4)]
        assert kinds == ["ready", "row", "done", "row"]
        _, errors = process.communicate(timeout=20)  # closes its input
    finally:
        process.kill()
    assert process.returncode == -signal.SIGKILL
    assert all(text in errors for text in ("from C", "from a child", "from Python"))


def test_results_are_plain_json_of_one_line_each():
    file = io.StringIO()
    figures = {"a": np.float32(0.5), "b": float("nan"), "c": [np.int64(3), np.inf], "d": np.bool_(True)}
    goal = goals.Goal("a\nname", "w", "an error\n  of two lines", goals.FAILED, figures)
    child.send(file, row=goal.row())
    row = child.message_of(file.getvalue(), {"row"})["row"]
    assert row == {
        "name": "a name",
        "goal": "w",
        "measured": "an error of two lines",
        "outcome": "failed",
        "a": 0.5,
        "b": None,
        "c": [3, None],
        "d": True,
    }


def test_a_status_is_told_by_its_signals_name():
    assert child.how_it_ended(3) == "exit status 3"
    assert child.how_it_ended(-11) == "killed by SIGSEGV"
    assert child.how_it_ended(-9) == "killed by SIGKILL (the system's memory may have run out)"
