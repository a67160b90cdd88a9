"""Memory that the system hands over many pages at a time, instead of one by one as each is first written to.

Of an extraction that keeps everything that is half the price. Linux only; elsewhere the pages come one by one.
"""

from __future__ import annotations

import ctypes
import mmap
import sys
from time import perf_counter

_BLOCK = 2 << 20  # bytes of a huge page
_SLACK = 2e-3  # seconds that asking for huge pages may cost in all
_HUGEPAGE, _POPULATE_WRITE = 14, 23  # MADV_* of madvise(2), the second since Linux 5.14

_madvise = None
if sys.platform == "linux":
    _madvise = ctypes.CDLL(None).madvise
    _madvise.argtypes = ctypes.c_size_t, ctypes.c_size_t, ctypes.c_int


class Pages:
    """Makes memory ready to be written to: in huge pages for as long as they come sooner than small ones.

    Where the system has huge pages at hand, they take a third of the time; where it has to move others' memory out of
    their way first, several times as long. So the first block is timed in small pages, and then every huge page.
    """

    def __init__(self) -> None:
        self._small = 0.0
        """Seconds that a block took in small pages."""
        self._left = _SLACK
        """Seconds by which huge pages may still be slower; what they gain is paid in again."""

    def make_ready(self, start: int, need: int, end: int) -> int:
        """Make ready the addresses from `start` to `need` and the rest of the last block, but nothing from `end` on.

        Return the address up to which all is ready.
        """
        stop = min(need + -need % _BLOCK, end)
        while start < stop:
            after = min(start - start % _BLOCK + _BLOCK, stop)
            whole = after - start == _BLOCK
            huge = whole and self._small > 0 and self._left > 0
            if self._left <= 0:
                after = stop
            began = perf_counter()
            if huge:
                _advise(start, after, _HUGEPAGE)
            if not _advise(start, after, _POPULATE_WRITE):
                break
            took = perf_counter() - began
            if huge:
                self._left = min(self._left + self._small - took, _SLACK)
            elif whole:
                self._small = took
            start = after
        return stop


def _advise(start: int, stop: int, advice: int) -> bool:
    """Advise the system about whole pages; return whether it took the advice."""
    first = start - start % mmap.PAGESIZE
    return _madvise is not None and _madvise(first, stop - first, advice) == 0
