"""models/MNIST_dense128.h5 -> PyTorch, with the parity report in mnist_dense128.parity.txt."""

from __future__ import annotations

import sys

from recipe import convert

SHA256 = "10ef4e5ca9036d4cab3c56088f528184ff29ecb5aff23406d7306164e7ba194d"

if __name__ == "__main__":
    sys.exit(convert("MNIST_dense128", SHA256))
