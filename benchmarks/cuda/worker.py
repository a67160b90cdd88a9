"""The process in which the parts of the CUDA suite run: a part's name in, a line of JSON out for each of its goals.

`python -m benchmarks.cuda.worker MODULE SETTINGS`: the module has `PARTS`, the settings are JSON. A part that raises is
answered with one line that says so; what it found before stands.
"""

from __future__ import annotations

import gc
import importlib
import json
import sys
import traceback
from typing import Any

import torch

from benchmarks.cuda.bench import Bench


def main() -> None:
    """Run parts until the input ends."""
    module, settings = sys.argv[1], json.loads(sys.argv[2])
    results, sys.stdout = sys.stdout, sys.stderr  # libraries print; the results stay readable
    parts = importlib.import_module(module).PARTS
    bench = Bench(torch.device(settings["device"]), settings["quick"], settings["data"])

    def tell(**message: Any) -> None:
        print(json.dumps(message), file=results, flush=True)

    for line in sys.stdin:
        part = parts[line.strip()]
        gc.freeze()  # what is there by now stays; clocks collect garbage before each run, and need not look through it
        try:
            for goal in part.run(bench):
                tell(row=goal.row())
        except Exception as error:  # the next part may run all the same
            traceback.print_exc()
            tell(failed=f"{type(error).__name__}: {str(error).strip() or 'without a word'}")
        else:
            tell(done=True)


if __name__ == "__main__":
    main()
