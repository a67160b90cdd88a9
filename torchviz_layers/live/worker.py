"""One thread that computes for all sessions, so that the server answers meanwhile."""

from __future__ import annotations

import logging
import queue
import threading
from collections.abc import Callable
from typing import Any

_log = logging.getLogger(__name__)


class Stopped(Exception):  # noqa: N818 - an end that was asked for, not an error
    """Raised inside a computation that nobody waits for any longer."""


class Job:
    """A computation under way, which can be asked to end.

    Parameters
    ----------
    work
        Called with this job; it calls `check` now and then.
    done
        Called in the worker's thread with what `work` returned or raised.
    """

    def __init__(self, work: Callable[[Job], Any], done: Callable[[Job, Any], None]) -> None:
        self._work, self._done = work, done
        self._stop = threading.Event()

    def stop(self) -> None:
        """Ask the computation to end at its next step."""
        self._stop.set()

    def check(self) -> None:
        """Raise `Stopped` where the end was asked for."""
        if self._stop.is_set():
            raise Stopped

    def run(self) -> None:
        """Compute, and hand over the result or the error."""
        try:
            self.check()
            outcome = self._work(self)
        except Exception as problem:
            outcome = problem
        self._done(self, outcome)


class Worker:
    """A single thread with a queue: parallel loops of numba must not be entered from two threads at a time.

    The thread is a daemon: a reducer that cannot be stopped keeps no process alive.
    """

    def __init__(self) -> None:
        self._jobs: queue.SimpleQueue[Job | None] = queue.SimpleQueue()
        self._thread = threading.Thread(target=self._run, name="torchviz-layers serve", daemon=True)
        self._thread.start()

    def submit(self, job: Job) -> None:
        """Compute `job` after those before it."""
        self._jobs.put(job)

    def close(self, timeout: float = 3.0) -> None:
        """End the thread after the jobs in its queue, waiting at most `timeout` seconds."""
        self._jobs.put(None)
        self._thread.join(timeout)

    def _run(self) -> None:
        while (job := self._jobs.get()) is not None:
            try:
                job.run()
            except Exception:  # of one session that is gone: the others still need this thread
                _log.exception("the result of a computation could not be handed over")
