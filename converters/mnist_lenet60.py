"""models/MNIST_LeNet60.h5 -> PyTorch, with the parity report in mnist_lenet60.parity.txt."""

from __future__ import annotations

import sys

from recipe import convert

SHA256 = "7bef5838c548844d709bb944d213f43b0f1cdb0f07ab8e06dedd5c0371f16687"

if __name__ == "__main__":
    sys.exit(convert("MNIST_LeNet60", SHA256))
