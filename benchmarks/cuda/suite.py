"""The parts of the CUDA suite, each with its own time limit, most important first; results are written as they come.

All parts run in one process, which is replaced after a part that failed, hung or died: an error on a card can leave the
process unable to use it again.
"""

from __future__ import annotations

import argparse
import contextlib
import importlib
import signal
import sys
import threading
import time
from collections.abc import Generator, Iterator, Mapping
from typing import Any

from benchmarks.cuda.goals import FAILED, MISSED, NOT_MEASURED, Row
from benchmarks.cuda.parts import Part
from benchmarks.cuda.record import Record, check_folder
from benchmarks.cuda.runner import OVER, Runner, without_result

PARTS = "benchmarks.cuda.parts"


class UsageError(ValueError):
    """Options that the suite cannot run with."""


class Stopped(BaseException):
    """A signal that ends the suite."""

    def __init__(self, number: int) -> None:
        super().__init__(number)
        self.number = number


def main(options: argparse.Namespace, module: str = PARTS) -> int:
    """Run the parts of a module.

    Returns
    -------
    0; 1 if a goal was missed or a part failed; 2 for options that make no sense; 128 + the number of the signal (130
    for Ctrl-C) that ended it.
    """
    try:
        parts = _chosen(options.only, importlib.import_module(module).PARTS)
        check_folder(options.json)
    except (UsageError, OSError) as error:
        print(f"python -m benchmarks cuda: {error}", file=sys.stderr)
        return 2
    settings = {
        "device": options.device,
        "quick": options.quick,
        "data": options.data,
        "minutes": options.minutes,
        "only": list(parts) if options.only else None,
    }
    record = Record(options.json, settings, list(parts))
    stopped = None
    try:
        with _signals_that_stop(), contextlib.closing(_run(parts, module, settings, record)) as rows:
            for row in rows:
                record.add(row)
    except Stopped as error:
        stopped = error.number
    counts = record.finish(None if stopped is None else signal.Signals(stopped).name)
    if stopped is not None:
        return 128 + stopped
    return int(counts[FAILED] + counts[MISSED] > 0)


def _chosen(only: list[str] | None, parts: Mapping[str, Part]) -> dict[str, Part]:
    if unknown := set(only or ()) - set(parts):
        raise UsageError(f"--only {', '.join(sorted(unknown))}: there are {', '.join(parts)}")
    return {name: part for name, part in parts.items() if name in (only or parts)}


@contextlib.contextmanager
def _signals_that_stop() -> Iterator[None]:
    """Turn Ctrl-C and SIGTERM into `Stopped`, once: what follows while the suite ends is ignored."""
    if threading.current_thread() is not threading.main_thread():
        yield  # signals reach the main thread only
        return
    numbers = (signal.SIGINT, signal.SIGTERM)

    def stop(number: int, _frame: Any) -> None:
        for one in numbers:
            signal.signal(one, signal.SIG_IGN)
        raise Stopped(number)

    before = {number: signal.signal(number, stop) for number in numbers}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _run(
    parts: Mapping[str, Part], module: str, settings: dict[str, Any], record: Record
) -> Generator[Row, None, None]:
    """Yield the rows of all parts, one part after the other, and note how long each took."""
    until = time.monotonic() + 60 * settings["minutes"]
    runner = None
    try:
        for name, part in parts.items():
            began = time.monotonic()
            if began >= until:
                yield without_result(part, NOT_MEASURED, f"{OVER} before it began")
                continue
            runner = runner or Runner(module, settings)
            errors, over = [], False
            for row in runner.run(name, part, until):
                if runner.environment is not None:
                    record.environment = runner.environment
                if row["outcome"] == FAILED:
                    errors.append(f"{row['name']}: {row['measured']}")
                over |= row["measured"] == OVER
                yield row
            said = runner.said()
            if errors:
                record.log("\n".join([f"part {name}", *errors]), said)
            if not over:
                record.ended(name, time.monotonic() - began)
            if not runner.usable:
                runner.kill()
                runner = None
    finally:
        if runner is not None:
            runner.kill()
