"""Memory whose pages the system allocates many at a time, instead of one by one as each is first written to.

Where an extraction keeps everything, that is most of what it costs beyond the forward pass. Linux only; elsewhere the
pages are allocated one by one.
"""

from __future__ import annotations

import ctypes
import mmap
import sys
from time import perf_counter

import torch

_BLOCK = 2 << 20  # bytes of a huge page
_SLACK = 2e-3  # seconds that requests for huge pages may lose in all
_HUGEPAGE, _POPULATE_WRITE = 14, 23  # MADV_* of madvise(2), the second since Linux 5.14

_madvise = None
if sys.platform == "linux":
    _madvise = ctypes.CDLL(None).madvise
    _madvise.argtypes = ctypes.c_size_t, ctypes.c_size_t, ctypes.c_int


class Pages:
    """Allocates pages before they are written to: huge ones for as long as they are faster than small ones.

    If the system has free huge pages, they take a fraction of the time of small ones; if it has to move other memory
    first, they take longer. So the first block is timed in small pages, and every later one in a huge page. With
    several threads, small pages are not allocated here: each thread allocates those that it writes to.
    """

    def __init__(self) -> None:
        self._small = 0.0
        """Seconds that a block takes in small pages, with all threads."""
        self._left = _SLACK
        """Seconds that huge pages may still lose against small ones; what they gain is credited, up to the limit."""

    def make_ready(self, start: int, need: int, end: int) -> int:
        """Allocate the pages of the addresses from `start` to `need`, and to the end of the last block.

        Nothing is done for addresses from `end` on. Return the address up to which it is done.
        """
        # `x + -x % n` is x rounded up to a multiple of n.
        stop = min(need + -need % _BLOCK, end)
        threads, done = torch.get_num_threads(), start
        # Whole blocks as long as huge pages have not lost too much time; what is left over, in small pages.
        for block in range(start + -start % _BLOCK, stop - _BLOCK + 1, _BLOCK):
            if self._left <= 0:
                break
            if threads == 1:
                _advise(done, block, _POPULATE_WRITE)
            self._allocate_block(block, threads)
            done = block + _BLOCK
        if threads == 1:
            _advise(done, stop, _POPULATE_WRITE)
        return stop

    def _allocate_block(self, block: int, threads: int) -> None:
        """Allocate one block, the first of all in small pages, and time it."""
        huge = self._small > 0  # the first block has been timed
        began = perf_counter()
        if huge:
            _advise(block, block + _BLOCK, _HUGEPAGE)
        if not _advise(block, block + _BLOCK, _POPULATE_WRITE):
            self._left = 0.0
        took = perf_counter() - began
        # Several threads would have shared the work of small pages.
        if huge:
            self._left = min(self._left + self._small - took, _SLACK)
        else:
            self._small = took / threads


def _advise(start: int, stop: int, advice: int) -> bool:
    """Call `madvise` for the pages from `start` to `stop`; return whether it succeeded."""
    first = start - start % mmap.PAGESIZE
    return _madvise is not None and (start == stop or _madvise(first, stop - first, advice) == 0)
