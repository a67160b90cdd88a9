"""Libraries that UMAP is timed beside, each run in a process of its own with a limit: `ask`.

cuML and umap-learn may take minutes, run out of memory or crash. That is no failure of ours, and our own figures have
been yielded before: what they did is a `Verdict`. `python -m benchmarks.cuda.judges REQUEST` is the process.
"""

from __future__ import annotations

import faulthandler
import json
import os
import subprocess
import sys
import time
from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import torch

from benchmarks.cuda.bench import Bench, CheckedUMAP, made_up
from benchmarks.cuda.child import end_with_parent, how_it_ended, message_of, private_results, send
from benchmarks.cuda.goals import MEASURED, NOT_MEASURED, Goal, described
from benchmarks.timing import stopwatch

MODULE = "benchmarks.cuda.judges"
_KINDS = {"begun", "seconds", "failed"}
_WARM_UP = 5_000  # rows of a first run, which compiles and makes the card's contexts


class Verdict(NamedTuple):
    """How long a library took, or what kept it: seconds None; `ended` False: it was cut off after the seconds."""

    seconds: float | None
    ended: bool = True
    why: str = ""

    def figures(self, library: str) -> dict[str, float | None]:
        """Return the seconds under a name that says whether the library ended."""
        return {f"{library}_seconds{'' if self.ended else '_at_least'}": self.seconds}


def ask(bench: Bench, job: str, rows: dict[str, Any], limit: float) -> Verdict:
    """Time a job on rows, for `limit` seconds with its imports and preparations.

    `rows` are those of a `Bench`: ``{"pixels": n}`` or ``{"made_up_rows": [n, n_features]}``; the
    process makes them again.
    """
    if bench.on_card:
        torch.cuda.empty_cache()  # the two processes share the card's memory
    request = {"job": job, "rows": rows, "device": str(bench.device), "quick": bench.quick, "data": bench.data}
    process = subprocess.Popen(
        [sys.executable, "-m", MODULE, json.dumps(request | {"parent": os.getpid()})],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        encoding="utf-8",
        errors="replace",
    )
    cut_off = False
    try:
        said, _ = process.communicate(timeout=limit)
    except subprocess.TimeoutExpired:
        cut_off = True
        process.kill()
        said, _ = process.communicate()
    finally:
        process.kill()
    return _verdict(said, limit, how_it_ended(process.returncode), cut_off=cut_off)


def _verdict(said: str, limit: float, ended: str, *, cut_off: bool) -> Verdict:
    message: dict[str, Any] = {}
    for line in said.splitlines():
        message |= message_of(line, _KINDS) or {}
    if "seconds" in message:
        return Verdict(message["seconds"])
    if "failed" in message:
        return Verdict(None, why=message["failed"])
    if not cut_off:
        return Verdict(None, why=ended)
    if "begun" in message:
        return Verdict(time.time() - message["begun"], ended=False)
    return Verdict(None, why=f"it was not ready after {limit:.0f} s")


def at_most(bench: Bench, name: str, most: float, seconds: float | None, library: str, verdict: Verdict) -> Goal:
    """Return the goal that ours takes at most so many times a library's time."""
    wanted = f"at most {most} times {library}'s time"
    if seconds is None or verdict.seconds is None:
        return _unknown(name, wanted, library, verdict)
    ratio = seconds / verdict.seconds
    if not verdict.ended and ratio > most:
        return Goal(name, wanted, f"{library} was cut off too early to say", NOT_MEASURED, verdict.figures(library))
    summary = f"{'' if verdict.ended else 'at most '}{ratio:.2f} times"
    return bench.judge_speed(name, wanted, summary, ratio <= most, **verdict.figures(library))


def at_least(bench: Bench, name: str, least: float, seconds: float | None, library: str, verdict: Verdict) -> Goal:
    """Return the goal that ours is at least so many times as fast as a library."""
    wanted = f"at least {least:g} times as fast"
    if seconds is None or verdict.seconds is None:
        return _unknown(name, wanted, library, verdict)
    ratio = verdict.seconds / seconds
    summary = f"{'' if verdict.ended else 'at least '}{ratio:.1f} times"
    if not verdict.ended and ratio < least:
        figures = verdict.figures(library)
        return Goal(name, wanted, f"{summary}: {library} was cut off too early to say", NOT_MEASURED, figures)
    return bench.judge_speed(name, wanted, summary, ratio >= least, ratio=ratio, **verdict.figures(library))


def measured(name: str, library: str, verdict: Verdict) -> Goal:
    """Return a library's time by itself."""
    if verdict.seconds is None:
        return _unknown(name, "", library, verdict)
    summary = f"{'' if verdict.ended else 'more than '}{verdict.seconds:.2f} s"
    return Goal(name, "", summary, MEASURED, verdict.figures(library))


def _unknown(name: str, wanted: str, library: str, verdict: Verdict) -> Goal:
    why = f"{library} failed: {verdict.why}" if verdict.seconds is None else "ours failed"
    return Goal(name, wanted, why, NOT_MEASURED, verdict.figures(library))


def main() -> None:
    """Run one job: a small run to warm up, then the one that is timed."""
    request = json.loads(sys.argv[1])
    faulthandler.enable()
    report = partial(send, private_results())
    end_with_parent(request["parent"])
    bench = Bench(torch.device(request["device"]), request["quick"], request["data"])
    try:
        X = _rows(bench, **request["rows"])
        job = partial(JOBS[request["job"]], bench)
        job(X[:_WARM_UP])
        report(begun=time.time())
        seconds, _, _ = stopwatch(lambda: job(X), str(bench.device))
    except Exception as error:
        report(failed=described(error))
        raise
    report(seconds=seconds)


def _rows(bench: Bench, pixels: int | None = None, made_up_rows: tuple[int, int] | None = None) -> torch.Tensor:
    """Return the rows that were named, on the device."""
    if pixels is not None:
        return torch.as_tensor(bench.pixels(pixels)[1], device=bench.device)
    assert made_up_rows is not None
    return made_up(*made_up_rows, bench.device)[0]


def _cuml_umap(bench: Bench, X: torch.Tensor) -> None:
    CheckedUMAP(engine="cuml", device=bench.device).fit(X)


def _cuml_neighbors(_bench: Bench, X: torch.Tensor) -> None:
    from cuml.neighbors import NearestNeighbors

    NearestNeighbors(n_neighbors=16).fit(X).kneighbors(X)


def _umap_learn(_bench: Bench, X: torch.Tensor) -> None:
    import umap

    umap.UMAP().fit_transform(X.cpu().numpy())


JOBS: dict[str, Callable[[Bench, torch.Tensor], None]] = {
    "cuml-umap": _cuml_umap,
    "cuml-neighbors": _cuml_neighbors,
    "umap-learn": _umap_learn,
}

if __name__ == "__main__":
    main()
