"""Numba as this library uses it: compiled once a machine, and safe to call from several Python threads.

Two of Numba's rules make this module necessary:

- A function with ``cache=True`` fails where no cache folder can be written. `jit` and `parallel_jit` then compile
  without a cache.
- The workqueue threading layer, the only one that every platform has, aborts the process when two Python threads enter
  parallel kernels at once. Every call of one must hold `LOCK`. Long computations are split into calls of a few
  milliseconds to a tenth of a second and release the lock in between; only then can Python react to Ctrl-C.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any, TypeVar

import numba
import numpy as np

F = TypeVar("F", bound=Callable[..., Any])

LOCK = threading.RLock()

# Sums may be reordered and fused, so that they vectorise. `ninf` and `nnan` are not among the flags: infinity and NaN
# keep their meaning. The order is fixed when the kernel is compiled; it depends on the processor, not on the number of
# threads.
_FASTMATH = {"reassoc", "contract", "arcp", "nsz"}


def jit(function: F) -> F:
    """Compile a function that runs on one thread."""
    return _compile(function, parallel=False)


def parallel_jit(function: F) -> F:
    """Compile a kernel with `prange` loops; call it while holding `LOCK`."""
    return _compile(function, parallel=True)


def _compile(function: F, *, parallel: bool) -> F:
    options = {"nogil": True, "fastmath": _FASTMATH, "error_model": "numpy", "parallel": parallel}
    try:
        compiled = numba.njit(cache=True, **options)(function)
    except (RuntimeError, OSError):  # no folder for the cache can be written
        compiled = numba.njit(**options)(function)
    return compiled  # type: ignore[no-any-return]


@jit
def mix(value: np.uint32) -> np.uint32:
    """Hash 32 bits, for counter-based random numbers that do not depend on the number of threads.

    A bijection in which each input bit changes every output bit with probability of about one half. Constants: Chris
    Wellons, "hash-prospector", lowbias32.
    """
    h = np.uint32(value)
    h = np.uint32(h ^ (h >> np.uint32(16)))
    h = np.uint32(h * np.uint32(0x7FEB352D))
    h = np.uint32(h ^ (h >> np.uint32(15)))
    h = np.uint32(h * np.uint32(0x846CA68B))
    return np.uint32(h ^ (h >> np.uint32(16)))
