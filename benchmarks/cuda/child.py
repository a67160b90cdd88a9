"""What the processes that the CUDA suite starts have in common. Imports no torch.

Their results are lines of JSON, apart from whatever else is printed, and they end with the process that started them.
"""

from __future__ import annotations

import ctypes
import json
import os
import signal
import sys
from typing import Any, TextIO

from benchmarks.cuda.goals import plain


def private_results() -> TextIO:
    """Return a file for results, and send what else is written to standard output to standard error.

    C libraries and programs that are started write to file descriptor 1, whatever `sys.stdout` is. Results go through
    a duplicate of it, which started programs do not inherit.
    """
    sys.stdout.flush()
    results = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)
    return results


def send(results: TextIO, **message: Any) -> None:
    """Write one line of JSON."""
    print(json.dumps(plain(message), allow_nan=False), file=results, flush=True)


def message_of(line: str, kinds: set[str]) -> dict[str, Any] | None:
    """Return what `send` wrote, or None for a line that is something else."""
    try:
        message = json.loads(line)
    except ValueError:
        return None
    return message if isinstance(message, dict) and message.keys() & kinds else None


def end_with_parent(parent: int) -> None:
    """On Linux, be killed where the parent process ends in whatever way: nothing may stay on the card."""
    if sys.platform != "linux":
        return
    set_parent_death_signal = 1  # PR_SET_PDEATHSIG in linux/prctl.h
    ctypes.CDLL(None).prctl(set_parent_death_signal, signal.SIGKILL, 0, 0, 0)
    if os.getppid() != parent:  # it had ended before
        os._exit(1)


def how_it_ended(status: int) -> str:
    """Return an exit status in words: -11 is `killed by SIGSEGV`."""
    if status >= 0:
        return f"exit status {status}"
    try:
        name = signal.Signals(-status).name
    except ValueError:
        name = f"signal {-status}"
    hint = " (the system's memory may have run out)" if name == "SIGKILL" else ""
    return f"killed by {name}{hint}"
