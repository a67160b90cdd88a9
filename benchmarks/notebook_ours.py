"""What the user's notebook does, with this library: the five layers as linked panels of one saved page.

`python -m benchmarks.notebook_ours DATA.npz MODELS OUT DEVICE`; serves like `notebook_original.py`.
"""

from __future__ import annotations

import contextlib
import json
import sys
from pathlib import Path

import numpy as np

from torchviz_layers import Samples, load_model, visualize_layers


def run(data: str, folder: str, out: str, device: str) -> dict[str, float]:
    """Build and save the page; return the two accuracies, read from the page's own networks."""
    with np.load(data) as arrays:
        images, targets = arrays["images"], arrays["targets"].astype(np.int64)
    names = tuple(map(str, range(10)))
    samples = Samples.of((images[:, None].astype(np.float32), targets), class_names=names, name="MNIST")
    networks = {
        "dense128": load_model(Path(folder) / "MNIST_dense128.h5", transform="squeeze"),
        "LeNet60": load_model(Path(folder) / "MNIST_LeNet60.h5", transform="pad=2"),
    }
    page = visualize_layers(networks, samples, {name: [-2, -1] for name in networks}, device=device, progress=False)
    page.save(Path(out) / "page.html")
    return {network.name: float(network.accuracy(targets)) for network in page.data.networks}


def main() -> None:
    """Run once for each line of input."""
    answers = sys.stdout
    for _ in sys.stdin:
        with contextlib.redirect_stdout(sys.stderr):
            accuracies = run(*sys.argv[1:5])
        print(json.dumps(accuracies), file=answers, flush=True)


if __name__ == "__main__":
    main()
