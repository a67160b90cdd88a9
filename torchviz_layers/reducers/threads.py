"""How many threads lay a map out, on a quiet machine and on a busy one."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager

import numba

_BLOCK_SECONDS = 0.1  # epochs between two looks at the clock, at Ctrl-C and at the callback
_TURNS = 12  # blocks of epochs after which all threads and one thread are compared anew


class Crew:
    """How many threads run the next epochs, and how many epochs before the next look at the clock.

    Threads wait for each other after every epoch. Where other programs keep the processors busy that costs more than
    it gains, so that one thread is tried now and then, and the quicker way is taken. The map is the same either way.
    """

    def __init__(self) -> None:
        self._most = numba.get_num_threads()
        self._turn = 0
        self._seconds: dict[int, float] = {}  # threads -> of one epoch, when last tried
        self.epochs = 1  # the first one starts the threads

    @contextmanager
    def at_work(self, count: int) -> Iterator[None]:
        """Set the threads for `count` epochs, take their time, and put the number of threads back."""
        turn = self._turn % _TURNS
        if turn < 3:
            threads = 1 if turn == 1 else self._most
        else:
            threads = min(self._seconds, key=self._seconds.__getitem__)
        numba.set_num_threads(threads)
        began = time.perf_counter()
        try:
            yield
            each = (time.perf_counter() - began) / count
        finally:
            numba.set_num_threads(self._most)
        self._seconds[threads] = each
        self._turn += 1
        enough = max(1, int(_BLOCK_SECONDS / max(each, 1e-6)))
        self.epochs = min(4, enough) if self._turn % _TURNS < 3 else enough
