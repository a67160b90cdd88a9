"""How many threads compute the layout, on an idle machine and on a busy one."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager

import numba

_BLOCK_SECONDS = 0.1  # of epochs between two calls of the callback, and two chances for Ctrl-C
_TURNS = 12  # blocks of epochs after which all threads and one thread are compared again
_TRIALS = 3  # blocks of these that compare: all threads, one thread, all threads


class ThreadSchedule:
    """How many threads run the next epochs, and how many epochs one call of the kernel runs.

    Threads wait for each other after every epoch. Where other programs keep the processors busy this costs more than
    the threads gain. So one thread is tried now and then, and the quicker number is used. The map is the same.

    Attributes
    ----------
    epochs : int
        Epochs to run in the next block: few while numbers of threads are compared, then about a tenth of a second.
    """

    def __init__(self) -> None:
        self._most = numba.get_num_threads()
        self._turn = 0
        self._seconds: dict[int, float] = {}  # number of threads -> seconds of an epoch, when last tried
        self.epochs = 1  # the first one starts the threads

    @contextmanager
    def measured(self, count: int) -> Iterator[None]:
        """Set the number of threads for a block of `count` epochs, measure its time, and restore the number."""
        turn = self._turn % _TURNS
        if turn < _TRIALS:
            threads = 1 if turn == 1 else self._most
        else:
            threads = min(self._seconds, key=self._seconds.__getitem__)
        numba.set_num_threads(threads)
        began = time.perf_counter()
        try:
            yield
            seconds = (time.perf_counter() - began) / count
        finally:
            numba.set_num_threads(self._most)
        self._seconds[threads] = seconds
        self._turn += 1
        whole_block = max(1, int(_BLOCK_SECONDS / max(seconds, 1e-6)))
        comparing = self._turn % _TURNS < _TRIALS
        self.epochs = min(4, whole_block) if comparing else whole_block
