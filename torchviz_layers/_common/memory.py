"""How much memory there is, and sizes as people write them."""

from __future__ import annotations

import os
import re
from pathlib import Path

from torchviz_layers.exceptions import CaptureError

_UNITS = {"": 1, "k": 10**3, "m": 10**6, "g": 10**9, "t": 10**12, "ki": 1 << 10, "mi": 1 << 20, "gi": 1 << 30}


def parse_size(size: int | str) -> int:
    """Return the number of bytes that `8_000_000_000`, `"8 GB"` or `"8 GiB"` means."""
    if isinstance(size, int):
        return size
    found = re.fullmatch(r"\s*([\d.]+)\s*([kmgt]i?)?b?(?:ytes)?\s*", size.lower())
    if found is None:
        raise CaptureError(f"max_memory={size!r} is no size; write bytes, or a number with a unit such as '8 GB'")
    return int(float(found[1]) * _UNITS[found[2] or ""])


def format_bytes(count: float) -> str:
    """Spell a number of bytes: `1.5 GB`."""
    for unit in ("bytes", "kB", "MB", "GB"):
        if count < 1000:
            return f"{count:.0f} {unit}" if unit == "bytes" else f"{count:.3g} {unit}"
        count /= 1000
    return f"{count:.3g} TB"


def memory_limit(limit: int | None) -> int | None:
    """Return the bytes that arrays may take: what the caller says, or four fifths of what is available."""
    if limit is not None:
        return limit
    there = available_memory()
    return None if there is None else there * 4 // 5


def available_memory() -> int | None:
    """Return the bytes of memory that can still be taken, or None where the system doesn't say."""
    limits = [_cgroup_left()]
    try:
        meminfo = Path("/proc/meminfo").read_text(encoding="ascii")
        found = re.search(r"MemAvailable:\s+(\d+) kB", meminfo)
        limits.append(int(found[1]) * 1024 if found else None)
    except OSError:
        names = getattr(os, "sysconf_names", {})
        if "SC_PHYS_PAGES" in names:
            limits.append(os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") // 2)
    return min((limit for limit in limits if limit is not None), default=None)


def _cgroup_left() -> int | None:
    group = Path("/sys/fs/cgroup")
    try:
        return int((group / "memory.max").read_text()) - int((group / "memory.current").read_text())
    except (OSError, ValueError):  # no limit ("max"), or no cgroup v2
        return None
