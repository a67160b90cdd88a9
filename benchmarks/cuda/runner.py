"""The suite's side of the process that runs parts: it is started, asked, given up on and killed. Imports no torch."""

from __future__ import annotations

import contextlib
import json
import os
import queue
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, BinaryIO

from benchmarks.cuda.child import how_it_ended, message_of
from benchmarks.cuda.goals import FAILED, NOT_MEASURED, Goal, Row
from benchmarks.cuda.parts import Part

WORKER = "benchmarks.cuda.worker"
OVER = "the minutes were over"
_KINDS = {"ready", "row", "failed", "done"}
_START = 120.0  # seconds for imports and the card's first context
_JOIN = 5.0  # seconds for a killed process to be gone
_LONGEST = 100_000  # bytes of a part's other output that the log keeps


class PartError(Exception):
    """A part that failed, in words."""


class Runner:
    """A process that runs parts.

    Attributes
    ----------
    environment
        Where it runs, once it is ready.
    usable
        Whether the last part left it as it was: after a failure the card may be unusable for the process.
    """

    def __init__(self, module: str, settings: dict[str, Any]) -> None:
        self.environment: dict[str, Any] | None = None
        self.usable = True
        self._read = 0  # bytes of the other output that `said` has returned
        self._folder = tempfile.TemporaryDirectory(ignore_cleanup_errors=True)
        self._other = Path(self._folder.name, "stderr")  # a file, as a pipe would fill up
        with self._other.open("ab") as errors:
            self._process = self._start(module, settings, errors)
        self._lines: queue.SimpleQueue[str | None] = queue.SimpleQueue()
        self._listener = threading.Thread(target=self._listen, daemon=True)
        self._listener.start()

    @staticmethod
    def _start(module: str, settings: dict[str, Any], errors: BinaryIO) -> subprocess.Popen[str]:
        return subprocess.Popen(
            [sys.executable, "-m", WORKER, module, json.dumps(settings | {"parent": os.getpid()})],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=errors,
            encoding="utf-8",
            errors="replace",
            env=os.environ | ({} if settings["device"].startswith("cuda") else {"TRITON_INTERPRET": "1"}),
            start_new_session=True,  # Ctrl-C reaches the suite alone, and all that a part started can be killed
        )

    def _listen(self) -> None:
        assert self._process.stdout is not None
        with self._process.stdout as results:
            for line in results:
                self._lines.put(line)
        self._lines.put(None)

    def run(self, name: str, part: Part, until: float) -> Iterator[Row]:
        """Yield the rows of a part as they come; the last one says what went wrong, if anything did.

        `until` is when the suite's minutes are over, on the monotonic clock.
        """
        self.usable = False
        count, failed, limit = 0, False, part.limit
        try:
            if self.environment is None:
                limit = _START
                self.environment = self._next(min(time.monotonic() + limit, until))["ready"]
            limit = part.limit
            self._ask(name)
            end = min(time.monotonic() + limit, until)
            while "done" not in (message := self._next(end)):
                if "failed" in message:
                    raise PartError(message["failed"])
                count += 1
                failed |= message["row"]["outcome"] == FAILED
                yield message["row"]
            if not count:
                raise PartError("it yielded no goal")
            self.usable = not failed
        except TimeoutError:
            if time.monotonic() >= until:
                yield without_result(part, NOT_MEASURED, OVER)
                return
            self._show_stack()
            starting = "the process did not start: it " if self.environment is None else ""
            yield without_result(part, FAILED, f"{starting}took longer than {limit:.0f} s")
        except PartError as error:
            yield without_result(part, FAILED, str(error))

    def _ask(self, name: str) -> None:
        assert self._process.stdin is not None
        with contextlib.suppress(BrokenPipeError):  # it died: `_next` finds out
            self._process.stdin.write(name + "\n")
            self._process.stdin.flush()

    def _next(self, end: float) -> dict[str, Any]:
        """Return the next message; lines that are none are passed over."""
        while True:
            left = end - time.monotonic()
            try:
                # A process that outlived this one may hold the pipe open, so that no end of file comes.
                line = self._lines.get(timeout=min(1.0, max(0.0, left)))
            except queue.Empty:
                if self._process.poll() is not None:
                    raise PartError(f"the process died: {self._last_words()}") from None
                if left <= 0:
                    raise TimeoutError from None
                continue
            if line is None:
                raise PartError(f"the process died: {self._last_words()}")
            if message := message_of(line, _KINDS):
                return message

    def _show_stack(self) -> None:
        """Let the process write where it hangs."""
        if hasattr(signal, "SIGUSR1"):
            self._process.send_signal(signal.SIGUSR1)
            time.sleep(0.2)

    def _last_words(self) -> str:
        """Return how the process ended, and the last line that it wrote beside the stack of a crash."""
        with contextlib.suppress(subprocess.TimeoutExpired):  # the pipe may be closed a moment before the end
            self._process.wait(_JOIN)
        status = self._process.returncode
        lines = [line.strip() for line in self._tail(0).splitlines()]
        stack = ("File ", "Thread ", "Current thread ", "Extension modules:", "<")
        words = [line for line in lines if line and not line.startswith(stack)]
        ended = "it closed its output" if status is None else how_it_ended(status)
        return f"{ended}, {words[-1] if words else 'without a word'}"

    def said(self) -> str:
        """Return what the process has written beside its results since the last call."""
        text = self._tail(self._read)
        self._read = self._other.stat().st_size
        return text

    def _tail(self, start: int) -> str:
        """Return the other output from a byte on, or the end of it."""
        with self._other.open("rb") as file:
            file.seek(max(start, self._other.stat().st_size - _LONGEST))
            return file.read().decode("utf-8", "replace")

    def kill(self) -> None:
        """End the process and those that it started, whatever they do."""
        if hasattr(os, "killpg"):
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.killpg(self._process.pid, signal.SIGKILL)
        self._process.kill()
        with contextlib.suppress(subprocess.TimeoutExpired):  # the card's driver may hold it
            self._process.wait(_JOIN)
        self._listener.join(_JOIN)  # a process in another session may hold the pipe open: it is not waited for
        assert self._process.stdin is not None
        self._folder.cleanup()
        with contextlib.suppress(BrokenPipeError):  # a part's name that it never read
            self._process.stdin.close()


def without_result(part: Part, outcome: str, why: str) -> Row:
    """Return the row of a part that did not end."""
    return Goal(part.about, "ends", why, outcome).row()
