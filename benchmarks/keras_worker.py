"""Keras on its own: `python benchmarks/keras_worker.py MODEL.h5 INPUT.npy OUTPUT.npy`, for an environment with Keras.

Each line on standard input is answered by the wall and CPU seconds of one `predict` of all samples.
"""

import json
import sys
import time

answers, sys.stdout = sys.stdout, sys.stderr

import numpy as np  # noqa: E402
from tensorflow.keras.models import load_model  # noqa: E402

started = time.perf_counter()
model = load_model(sys.argv[1], compile=False)
loaded = time.perf_counter() - started
images = np.load(sys.argv[2])

for _ in sys.stdin:
    wall, cpu = time.perf_counter(), time.process_time()
    output = model.predict(images, batch_size=256, verbose=0)
    times = {"wall": time.perf_counter() - wall, "cpu": time.process_time() - cpu, "load": loaded}
    np.save(sys.argv[3], output)
    print(json.dumps(times), file=answers, flush=True)
