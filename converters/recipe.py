"""What the recipes share: check the file, convert it, compare it with Keras's outputs, write source and weights."""

from __future__ import annotations

import argparse
import hashlib
import sys
from pathlib import Path

from torchviz_layers.convert import conversion_table, convert_keras, verify, write_source

HERE = Path(__file__).resolve().parent
TOLERANCE = 1e-5


def convert(name: str, sha256: str) -> int:
    """Convert models/`name`.h5 and print its parity report; with --out write source and weights.

    Returns
    -------
    int
        The exit status: 1 where the file is another one or the outputs differ.
    """
    parser = argparse.ArgumentParser(description=f"Convert models/{name}.h5 to PyTorch and compare it with Keras.")
    parser.add_argument("--keep", action="store_true", help="write the parity report into the recipe's folder")
    parser.add_argument("--out", type=Path, help="folder for the PyTorch source and its safetensors weights")
    options = parser.parse_args()
    path = HERE.parent / "models" / f"{name}.h5"
    found = hashlib.sha256(path.read_bytes()).hexdigest()
    if found != sha256:
        print(f"{path}: sha256 is {found}, the recipe is for {sha256}", file=sys.stderr)
        return 1
    model = convert_keras(path)
    report = verify(path, reference=HERE / "references" / f"{name}.npz", tolerance=TOLERANCE)
    head = f"{name}.h5 (sha256 {sha256})"
    against = str(report).replace(report.oracle, f"Keras 2.15, references/{name}.npz", 1)
    text = f"{head}\n\n{conversion_table(model)}\n\n{against}\n"
    print(text, end="")
    if options.keep:
        (HERE / f"{name.lower()}.parity.txt").write_text(text)
    if options.out is not None:
        options.out.mkdir(parents=True, exist_ok=True)
        print(*write_source(model, options.out / f"{name.lower()}.py"), sep="\n")
    return int(not report.passed)
