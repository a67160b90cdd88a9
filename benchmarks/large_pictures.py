"""A pass over many generated pictures in a process of its own: peak memory and time at several numbers of them.

`python -m benchmarks.large_pictures 10000 30000 60000` writes one line of JSON for each line of its input.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.utils.data import Dataset

from benchmarks.timing import resident_peak
from torchviz_layers import Samples, extract

SHAPE = (3, 224, 224)
BANK = 16  # pictures that all others are made of
BATCH_SIZE = 64


class Pictures(Dataset[tuple[Tensor, int]]):
    """`n` pictures, each one of a few random ones with a brightness of its own, and the peaks at `marks` pictures."""

    def __init__(self, n: int, marks: Sequence[int]) -> None:
        generator = torch.Generator().manual_seed(0)
        self.bank = torch.rand((BANK, *SHAPE), generator=generator)
        self.n, self.marks = n, marks
        self.started = time.perf_counter()
        self.peaks: list[int] = []
        self.seconds: list[float] = []

    def __len__(self) -> int:
        return self.n

    def __getitem__(self, index: int) -> tuple[Tensor, int]:
        if index + 1 in self.marks:
            self.note()
        return self.bank[index % BANK] * (0.5 + index / self.n / 2), index % 10

    def note(self) -> None:
        """Note the peak so far."""
        self.peaks.append(resident_peak())
        self.seconds.append(time.perf_counter() - self.started)


def convnet() -> nn.Module:
    """Return a network that costs less than its pictures."""
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Conv2d(3, 8, 7, stride=8), nn.ReLU(), nn.AdaptiveAvgPool2d(4), nn.Flatten(), nn.Linear(128, 10)
    ).eval()


def main() -> None:
    """Run a pass for each line of the input."""
    marks = [int(text) for text in sys.argv[1:]]
    output, sys.stdout = sys.stdout, sys.stderr  # what libraries print must not be between the results
    for _ in sys.stdin:
        data = Pictures(marks[-1], marks[:-1])
        acts = extract(convnet(), Samples.of(data), [-1], device="cpu", batch_size=BATCH_SIZE, progress=False)
        data.note()  # with all that the end of the pass takes
        result = {"rows": len(acts.ids), "peaks": data.peaks, "seconds": data.seconds}
        print(json.dumps(result), file=output, flush=True)


if __name__ == "__main__":
    main()
