"""Memory that the system hands over many pages at a time, instead of one by one as each is first written to.

Where an extraction keeps everything, most of its price over the forward pass is that. Linux only; elsewhere the pages
come one by one.
"""

from __future__ import annotations

import ctypes
import mmap
import sys
from time import perf_counter

import torch

_BLOCK = 2 << 20  # bytes of a huge page
_SLACK = 2e-3  # seconds that asking for huge pages may cost in all
_HUGEPAGE, _POPULATE_WRITE = 14, 23  # MADV_* of madvise(2), the second since Linux 5.14

_madvise = None
if sys.platform == "linux":
    _madvise = ctypes.CDLL(None).madvise
    _madvise.argtypes = ctypes.c_size_t, ctypes.c_size_t, ctypes.c_int


class Pages:
    """Makes memory ready to be written to: in huge pages for as long as they come sooner than small ones.

    Where the system has huge pages at hand, they come in a fraction of the time; where it has to move others' memory
    out of their way first, later than small ones. So the first block is timed in small pages, and then every huge page.
    Threads that write side by side share the work of small pages, which are left to them then.
    """

    def __init__(self) -> None:
        self._small = 0.0
        """Seconds that a block takes in small pages, all threads at work."""
        self._left = _SLACK
        """Seconds by which huge pages may still be slower; what they gain is paid in again."""

    def make_ready(self, start: int, need: int, end: int) -> int:
        """Make ready the addresses from `start` to `need` and the rest of the last block, but nothing from `end` on.

        Return the address up to which that is done.
        """
        stop = min(need + -need % _BLOCK, end)
        threads, done = torch.get_num_threads(), start
        for block in range(start + -start % _BLOCK, stop - _BLOCK + 1, _BLOCK):
            if self._left <= 0:
                break
            if threads == 1:
                _advise(done, block, _POPULATE_WRITE)
            self._take(block, threads)
            done = block + _BLOCK
        if threads == 1:
            _advise(done, stop, _POPULATE_WRITE)
        return stop

    def _take(self, block: int, threads: int) -> None:
        """Make one block ready, the first of all in small pages, and keep the account."""
        huge = self._small > 0
        began = perf_counter()
        if huge:
            _advise(block, block + _BLOCK, _HUGEPAGE)
        if not _advise(block, block + _BLOCK, _POPULATE_WRITE):
            self._left = 0.0
        took = perf_counter() - began
        if huge:
            self._left = min(self._left + self._small - took, _SLACK)
        else:
            self._small = took / threads


def _advise(start: int, stop: int, advice: int) -> bool:
    """Advise the system about the pages from `start` to `stop`; return whether it took the advice."""
    first = start - start % mmap.PAGESIZE
    return _madvise is not None and (start == stop or _madvise(first, stop - first, advice) == 0)
