"""One thread that computes for all sessions, so that the server stays responsive."""

from __future__ import annotations

import logging
import queue
import threading
from collections.abc import Callable
from typing import Any

_log = logging.getLogger(__name__)


class Stopped(Exception):  # noqa: N818 - requested by the reader, not an error
    """Raised inside a computation whose result is no longer wanted."""


class Job:
    """A computation that can be stopped.

    Parameters
    ----------
    work
        Called with this job; it must call `check` regularly.
    done
        Called in the worker's thread with what `work` returned or raised.
    """

    def __init__(self, work: Callable[[Job], Any], done: Callable[[Job, Any], None]) -> None:
        self._work, self._done = work, done
        self._stop = threading.Event()

    def stop(self) -> None:
        """Make the next `check` end the computation."""
        self._stop.set()

    def check(self) -> None:
        """Raise `Stopped` if the job was stopped."""
        if self._stop.is_set():
            raise Stopped

    def run(self) -> None:
        """Compute, and pass the result or the error to `done`."""
        try:
            self.check()
            outcome = self._work(self)
        except Exception as problem:
            outcome = problem
        self._done(self, outcome)


class Worker:
    """A single thread with a queue, because two threads must not run parallel loops of numba at the same time.

    The thread is a daemon, so that a reducer that cannot be stopped does not keep the process alive.
    """

    def __init__(self) -> None:
        self._jobs: queue.SimpleQueue[Job | None] = queue.SimpleQueue()
        self._thread = threading.Thread(target=self._run, name="torchviz-layers serve", daemon=True)
        self._thread.start()

    def submit(self, job: Job) -> None:
        """Compute `job` when the jobs before it are done."""
        self._jobs.put(job)

    def close(self, timeout: float = 3.0) -> None:
        """End the thread after the jobs in its queue, waiting at most `timeout` seconds."""
        self._jobs.put(None)
        self._thread.join(timeout)

    def _run(self) -> None:
        while (job := self._jobs.get()) is not None:
            try:
                job.run()
            except Exception:  # a session that was closed must not end the thread of the others
                _log.exception("the result of a computation could not be shown")
