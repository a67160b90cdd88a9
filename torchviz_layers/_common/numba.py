"""Numba as this library uses it: compiled once a machine, safe from several Python threads.

Numba refuses a function with ``cache=True`` where it finds no folder to write to, and its workqueue threading layer
(the one that every platform has) ends the process when two Python threads enter it. Hence `jit`, which goes without a
cache where there is none, and `LOCK`, which every call of a parallel kernel holds. Callers give the lock back every
few milliseconds to a tenth of a second, which is also when Ctrl-C is heard.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any, TypeVar

import numba
import numpy as np

F = TypeVar("F", bound=Callable[..., Any])

LOCK = threading.RLock()

# Sums may be reordered and fused, so that they vectorise; infinities keep their meaning. The order is fixed when the
# kernel is compiled: it depends on the processor, never on the number of threads.
_FASTMATH = {"reassoc", "contract", "arcp", "nsz"}


def jit(function: F) -> F:
    """Compile a kernel or a helper that runs on one thread."""
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
    """Hash 32 bits (a bijection with full avalanche; constants found by C. Wellons, "hash-prospector")."""
    h = np.uint32(value)
    h = np.uint32(h ^ (h >> np.uint32(16)))
    h = np.uint32(h * np.uint32(0x7FEB352D))
    h = np.uint32(h ^ (h >> np.uint32(15)))
    h = np.uint32(h * np.uint32(0x846CA68B))
    return np.uint32(h ^ (h >> np.uint32(16)))
