"""One reducer in a process of its own: reads requests, answers with times, one JSON line each.

`python -m benchmarks.reducer_worker NAME DEVICE`; a request is `{"X": file.npy, "Z": file.npy}`.
"""

from __future__ import annotations

import contextlib
import json
import sys
import time
import warnings


def main() -> None:
    """Serve fits until the input ends."""
    name, device = sys.argv[1:3]
    answers, sys.stdout = sys.stdout, sys.stderr  # libraries print; the answers stay readable
    started = time.perf_counter()
    from benchmarks.contenders import CONTENDERS, ON_CUDA

    contender = (CONTENDERS | ON_CUDA)[name]
    warnings.simplefilter("ignore")
    contender.build(device)  # the imports
    imported = time.perf_counter() - started
    import numpy as np

    from benchmarks.timing import peak_above, stopwatch

    for line in sys.stdin:
        request = json.loads(line)
        X = np.load(request["X"])
        reducer = contender.build(device)
        with peak_above(device) as peak, contextlib.redirect_stdout(sys.stderr):
            wall, cpu, Z = stopwatch(lambda: reducer.fit_transform(X), device)  # noqa: B023 - called at once
        Z = Z.cpu() if hasattr(Z, "cpu") else Z
        np.save(request["Z"], np.asarray(Z, np.float32))
        engine = getattr(reducer, "engine_", None)
        answer = {"import_seconds": imported, "wall": wall, "cpu": cpu, "peak": peak.bytes, "engine": engine}
        print(json.dumps(answer), file=answers, flush=True)


if __name__ == "__main__":
    main()
