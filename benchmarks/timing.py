"""The stopwatch: warm-up, interleaved repeats, device synchronisation, peak memory; results are checked afterwards."""

from __future__ import annotations

import contextlib
import ctypes
import gc
import statistics
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch


@dataclass
class Timing:
    """One contender's measurements, in seconds and bytes."""

    first: float = float("nan")
    wall: list[float] = field(default_factory=list)
    cpu: list[float] = field(default_factory=list)
    peak: int | None = None

    def row(self, name: str) -> dict[str, Any]:
        """Return the medians as a row of a table, the repeats with them."""
        return {
            "name": name,
            "first_seconds": self.first,
            "seconds": statistics.median(self.wall),
            "cpu_seconds": statistics.median(self.cpu),
            "peak_mb": None if self.peak is None else self.peak / 2**20,
            "repeats": self.wall,
        }


def interleave(
    contenders: Mapping[str, Callable[[], Any]],
    *,
    repeats: int,
    device: str,
    check: Callable[[str, Any], None] | None = None,
) -> dict[str, Timing]:
    """Time contenders in turns, so that a busy moment of the machine hits all of them alike.

    The first round is the warm-up: its time is kept apart, its result checked and its peak memory taken.
    """
    timings = {name: Timing() for name in contenders}
    for name, contender in contenders.items():
        with peak_above(device) as peak:
            timings[name].first, _, result = stopwatch(contender, device)
        timings[name].peak = peak.bytes
        if check is not None:
            check(name, result)
        del result
    for _ in range(repeats):
        for name, contender in contenders.items():
            gc.collect()
            wall, cpu, result = stopwatch(contender, device)
            timings[name].wall.append(wall)
            timings[name].cpu.append(cpu)
            del result  # else the next contender would have to find other memory
    return timings


def stopwatch(function: Callable[[], Any], device: str = "cpu") -> tuple[float, float, Any]:
    """Return wall seconds, CPU seconds of this process (all threads) and the result."""
    synchronize(device)
    wall, cpu = time.perf_counter(), time.process_time()
    result = function()
    synchronize(device)
    return time.perf_counter() - wall, time.process_time() - cpu, result


def synchronize(device: str) -> None:
    """Wait for the card: its work is only queued."""
    if device.startswith("cuda"):
        torch.cuda.synchronize()


@dataclass
class Peak:
    """Bytes in use at the highest moment, above those before."""

    bytes: int | None = None


@contextlib.contextmanager
def peak_above(device: str) -> Iterator[Peak]:
    """Measure the block's peak memory above what was in use before it (on the card with CUDA, else resident)."""
    _settle(device)
    before, peak = _reset_peak(device), Peak()
    yield peak
    if before is not None:
        peak.bytes = _peak(device) - before


def _settle(device: str) -> None:
    """Give freed memory back, so that the next contender cannot reuse it unseen."""
    gc.collect()
    if device.startswith("cuda"):
        torch.cuda.empty_cache()
    try:
        ctypes.CDLL("libc.so.6").malloc_trim(0)
    except (OSError, AttributeError):
        return


def _reset_peak(device: str) -> int | None:
    """Start counting peak memory anew and return what is in use now; None where the system cannot."""
    if device.startswith("cuda"):
        torch.cuda.reset_peak_memory_stats()
        return torch.cuda.memory_allocated()
    try:
        Path("/proc/self/clear_refs").write_text("5", encoding="ascii")
        return _status("VmRSS")
    except (OSError, ValueError):
        return None


def _peak(device: str) -> int:
    return torch.cuda.max_memory_allocated() if device.startswith("cuda") else _status("VmHWM")


def resident_peak() -> int:
    """Return the bytes that this process had in memory at its highest moment; 0 where the system does not say."""
    try:
        return _status("VmHWM")
    except OSError:  # not Linux
        return 0


def _status(key: str) -> int:
    lines = Path("/proc/self/status").read_text(encoding="ascii").splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith(key))
