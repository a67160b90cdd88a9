"""Write the small files of tests/files/keras_frozen.tar.xz with Keras itself: models with frozen and unfrozen layers.

    PYTHON3 converters/make_frozen_files.py FOLDER      with Keras 3 (torch backend): k3_*.h5 and k3_*.keras
    PYTHON2 converters/make_frozen_files.py FOLDER      with TensorFlow 2.15: tf_*.h5 and tf_*.keras
    python converters/make_frozen_files.py FOLDER --pack tests/files/keras_frozen.tar.xz

For each model there is an .npz with its input and the output that this Keras computes. With `--large` also VGG16 and
MobileNetV2, which are not packed. `frozen_cases.py` has the models.
"""

from __future__ import annotations

import argparse
import os
from pathlib import Path

from frozen_cases import CASES, LARGE
from make_application_files import pack
from make_layer_files import make
from random_models import import_keras


def write(folder: Path, large: bool, only: list[str] | None) -> None:
    """Write every case in both formats with this Keras."""
    keras = import_keras()
    start = "k3" if hasattr(keras, "ops") else "tf"
    for name, build in (LARGE if large else CASES).items():
        if only and name not in only:
            continue
        for ending in ("h5", "keras"):
            path = folder / f"{start}_{name}.{ending}"
            make(keras, name, lambda build=build: build(keras), path)
        print(path.stem)


def main() -> None:
    """Write or pack the files."""
    parser = argparse.ArgumentParser(description="Write Keras files of models with frozen and unfrozen layers.")
    parser.add_argument("folder", type=Path)
    parser.add_argument("--large", action="store_true", help="write VGG16 and MobileNetV2 instead of the small models")
    parser.add_argument("--only", nargs="*", help="names of cases")
    parser.add_argument("--pack", type=Path, help="put the folder's files into this archive")
    options = parser.parse_args()
    if options.pack:
        pack(options.folder, options.pack)
        return
    os.environ.setdefault("KERAS_BACKEND", "torch")
    options.folder.mkdir(parents=True, exist_ok=True)
    write(options.folder, options.large, options.only)


if __name__ == "__main__":
    main()
