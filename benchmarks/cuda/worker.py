"""The process in which the parts of the CUDA suite run: a part's name in, a line of JSON out for each of its goals.

`python -m benchmarks.cuda.worker MODULE SETTINGS`: the module has `PARTS`, the settings are JSON. The first line out
says `ready`, with the environment. For a part that raises, one line says so; what it found before
stands.
"""

from __future__ import annotations

import faulthandler
import gc
import importlib
import json
import os
import queue
import signal
import sys
import threading
import traceback
from collections.abc import Callable, Iterable, Iterator, Mapping
from functools import partial
from typing import Any, TextIO

from benchmarks.cuda.child import end_with_parent, private_results, send
from benchmarks.cuda.goals import described
from benchmarks.cuda.parts import Part


def main() -> None:
    """Run parts until the input ends."""
    module, settings = sys.argv[1], json.loads(sys.argv[2])
    faulthandler.enable()
    if hasattr(signal, "SIGUSR1"):  # the suite asks where a part hangs
        faulthandler.register(signal.SIGUSR1)
    report = partial(send, private_results())
    end_with_parent(settings["parent"])
    names = _watched(sys.stdin)

    # The slow imports come now: the suite's clock starts at `ready`.
    import torch

    from benchmarks.cuda.bench import Bench
    from benchmarks.environment import environment

    bench = Bench(torch.device(settings["device"]), settings["quick"], settings["data"])
    parts = importlib.import_module(module).PARTS
    report(ready=environment(settings["device"]))
    serve(parts, bench, names, report)


def serve(parts: Mapping[str, Part], bench: Any, names: Iterable[str], report: Callable[..., None]) -> None:
    """Run the named parts and report what they find."""
    for name in names:
        try:
            run = parts[name].load()
            # What is there by now stays: clocks collect garbage before each run, and need not look through it.
            gc.freeze()
            for goal in run(bench):
                report(row=goal.row())
        except (Exception, SystemExit) as error:  # the next part may run all the same
            traceback.print_exc()
            report(failed=described(error))
        else:
            report(done=True)


def _watched(file: TextIO) -> Iterator[str]:
    """Yield lines as they come; where the input ends, end this process and those that it started, whatever they do."""
    lines: queue.SimpleQueue[str] = queue.SimpleQueue()

    def watch() -> None:
        for line in file:
            lines.put(line.strip())
        if hasattr(os, "killpg") and os.getpgrp() == os.getpid():  # it leads a group of its own: the suite started it
            os.killpg(os.getpid(), signal.SIGKILL)
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()
    while True:
        yield lines.get()


if __name__ == "__main__":
    main()
