"""How much memory is available, and sizes in bytes as text."""

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
        raise CaptureError(f"max_memory={size!r} is no size; give bytes, or a number with a unit such as '8 GB'")
    return int(float(found[1]) * _UNITS[found[2] or ""])


def format_bytes(count: float) -> str:
    """Return a number of bytes as text: `1.5 GB`."""
    for unit in ("bytes", "kB", "MB", "GB"):
        if count < 1000:
            return f"{count:.0f} {unit}" if unit == "bytes" else f"{count:.3g} {unit}"
        count /= 1000
    return f"{count:.3g} TB"


def memory_limit(limit: int | None) -> int | None:
    """Return the bytes that arrays may take: `limit`, or four fifths of what is available, or None if unknown."""
    if limit is not None:
        return limit
    available = available_memory()
    return None if available is None else available * 4 // 5


def available_memory() -> int | None:
    """Return the bytes of memory that are available to this process, or None if the system does not say."""
    limits = [limit for limit in (_machine_available(), _cgroup_available()) if limit is not None]
    return min(limits, default=None)


def _machine_available() -> int | None:
    try:
        meminfo = Path("/proc/meminfo").read_text(encoding="ascii")
    except OSError:  # not Linux
        if "SC_PHYS_PAGES" not in getattr(os, "sysconf_names", {}):
            return None
        # macOS reports only how much memory is installed; half of it is a careful guess.
        return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") // 2
    found = re.search(r"MemAvailable:\s+(\d+) kB", meminfo)
    return int(found[1]) * 1024 if found else None


def _cgroup_available() -> int | None:
    """Return what a container's limit leaves: /proc/meminfo shows the whole machine's memory."""
    group = Path("/sys/fs/cgroup")
    try:
        return int((group / "memory.max").read_text()) - int((group / "memory.current").read_text())
    except (OSError, ValueError):  # no limit ("max"), or no cgroup v2
        return None
