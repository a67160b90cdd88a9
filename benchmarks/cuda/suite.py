"""The parts of the CUDA suite, each with its own time limit, most important first; results are written as they come.

All parts run in one process, which is replaced after a part that failed, hung or died: an error on a card can leave the
process unable to use it again.
"""

from __future__ import annotations

import argparse
import contextlib
import importlib
import json
import os
import queue
import re
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from typing import Any, NamedTuple

from benchmarks.cuda.bench import FAILED, MISSED, NOT_MEASURED, Bench, Goal
from benchmarks.environment import environment
from benchmarks.report import Report, Table, shown

PARTS = "benchmarks.cuda.parts"
WORKER = "benchmarks.cuda.worker"


class Part(NamedTuple):
    """Goals that are checked together, what they are about, and the seconds that they may take."""

    about: str
    run: Callable[[Bench], Iterator[Goal]]
    limit: float


def main(options: argparse.Namespace, module: str = PARTS) -> int:
    """Run the parts of a module; return 1 if a goal was missed or a part failed, else 0."""
    parts: Mapping[str, Part] = importlib.import_module(module).PARTS
    if unknown := set(options.only or ()) - set(parts):
        raise SystemExit(f"--only {', '.join(sorted(unknown))}: there are {', '.join(parts)}")
    chosen = {name: part for name, part in parts.items() if name in (options.only or parts)}
    where = environment(options.device)
    settings = {"device": options.device, "quick": options.quick, "data": options.data, "minutes": options.minutes}
    goals = Table("goals", f"Goals, on {where['card'] or 'the CPU, as a rehearsal'}", [])
    took = Table("parts", "Seconds that each part took, its preparations included", [])
    report = Report("cuda", settings, where, [goals, took])
    path = None if options.json is None else options.json / file_name(where["card"])
    started = time.monotonic()
    for row in _results(chosen, module, settings, started + 60 * options.minutes, took):
        print(_line(row), flush=True)
        goals.rows.append(row)
        if path is not None:
            report.save(path)
    if path is not None:
        report.save(path)
    counts = Counter(row["outcome"] for row in goals.rows)
    told = ", ".join(f"{count} {outcome}" for outcome, count in counts.items())
    print(f"\n{told}; {(time.monotonic() - started) / 60:.1f} minutes" + (f"; {path}" if path else ""))
    return int(counts[FAILED] + counts[MISSED] > 0)


def file_name(card: str | None) -> str:
    """Return the name of the file of results: `nvidia-h200-cuda.json`, and on the CPU a name that no table takes."""
    return "rehearsal.json" if card is None else re.sub("[^a-z0-9]+", "-", card.lower()).strip("-") + "-cuda.json"


def _results(
    parts: Mapping[str, Part], module: str, settings: Any, until: float, took: Table
) -> Iterator[dict[str, Any]]:
    """Yield the rows of all parts, one part after the other, and note how long each took."""
    worker = None
    try:
        for name, part in parts.items():
            began = time.monotonic()
            left = until - began
            if left <= 0:
                yield _without_result(part, NOT_MEASURED, "the minutes were over before it began")
                continue
            worker = worker or _Worker(module, settings)
            failed = False
            for row in worker.run(name, part, min(part.limit, left)):
                failed |= row["outcome"] == FAILED
                yield row
            if failed:
                worker.kill()
                worker = None
            took.rows.append({"name": name, "seconds": time.monotonic() - began})
    finally:
        if worker is not None:
            worker.kill()


def _without_result(part: Part, outcome: str, why: str) -> dict[str, Any]:
    return Goal(part.about, "ends", why, outcome).row()


class _Worker:
    """A process that runs parts."""

    def __init__(self, module: str, settings: Any) -> None:
        self._errors = tempfile.TemporaryFile("w+")  # noqa: SIM115 - closed in `kill`; a pipe would fill up
        self._process = subprocess.Popen(
            [sys.executable, "-m", WORKER, module, json.dumps(settings)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._errors,
            text=True,
            env=os.environ | ({} if settings["device"].startswith("cuda") else {"TRITON_INTERPRET": "1"}),
        )
        self._lines: queue.SimpleQueue[str] = queue.SimpleQueue()
        self._listener = threading.Thread(target=self._listen, daemon=True)
        self._listener.start()

    def _listen(self) -> None:
        assert self._process.stdout is not None
        for line in self._process.stdout:
            self._lines.put(line)
        self._lines.put("")

    def run(self, name: str, part: Part, limit: float) -> Iterator[dict[str, Any]]:
        """Yield the rows of a part as they come; the last one says what went wrong, if anything did."""
        end = time.monotonic() + limit
        assert self._process.stdin is not None
        with contextlib.suppress(BrokenPipeError):  # it died on its imports: the missing answer tells
            self._process.stdin.write(name + "\n")
            self._process.stdin.flush()
        while True:
            try:
                line = self._lines.get(timeout=max(0.0, end - time.monotonic()))
            except queue.Empty:
                yield _without_result(part, FAILED, f"took longer than {limit:.0f} s")
                return
            message: dict[str, Any]
            message = json.loads(line) if line else {"failed": f"the process died: {self._last_words()}"}
            if "row" in message:
                yield message["row"]
                continue
            if "failed" in message:
                yield _without_result(part, FAILED, message["failed"])
            return

    def _last_words(self) -> str:
        """Return the exit status and the last line that the process wrote."""
        status = self._process.wait()
        self._errors.seek(0)
        lines = self._errors.read().split("\n")
        last = next((line.strip() for line in reversed(lines) if line.strip()), "without a word")
        return f"exit status {status}, {last}"

    def kill(self) -> None:
        """End the process, whatever it does."""
        self._process.kill()
        self._process.wait()
        self._listener.join()  # nothing more will come
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        for file in (self._process.stdout, self._errors):
            file.close()
        with contextlib.suppress(BrokenPipeError):  # a part's name that it never read
            self._process.stdin.close()


def _line(row: Mapping[str, Any]) -> str:
    seconds = f", {shown(row['seconds'])} s" if "seconds" in row else ""
    goal = f" (goal: {row['goal']})" if row["goal"] else ""
    return f"{row['outcome']:<12} {row['name']}: {row['measured']}{seconds}{goal}"
