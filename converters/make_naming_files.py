"""Write the small `.keras` files of tests/files/keras_names.tar.xz with the Keras at hand: models and their outputs.

    PYTHON converters/make_naming_files.py FOLDER      once for each version of Keras, 2.12 and later
    python converters/make_naming_files.py FOLDER --pack tests/files/keras_names.tar.xz

Each version writes `VERSION_CASE.keras` and an .npz with the input and the output that this very Keras
computes. `naming_cases.py` has the models.
"""

from __future__ import annotations

import argparse
import importlib.metadata
import os
from pathlib import Path

from make_application_files import pack
from make_layer_files import make
from naming_cases import CASES
from random_models import import_keras

# Configurations that refer to calls of a shared layer which they leave out: no Keras loads them.
_OF_OTHER_MODELS = ("shared_by_nested_models", "shared_nested_model", "shared_with_the_outer_model")
LEFT_OUT = {"2.12": _OF_OTHER_MODELS[1:], **dict.fromkeys(("3.0", "3.1", "3.2"), _OF_OTHER_MODELS)}


def write(folder: Path, only: list[str] | None) -> None:
    """Write every case with this Keras."""
    keras, version = import_keras(), importlib.metadata.version("keras")
    options = {"save_format": "keras_v3"} if version.startswith("2.12.") else {}  # without it HDF5
    for name, build in CASES.items():
        if (only and name not in only) or name in LEFT_OUT.get(version.rpartition(".")[0], ()):
            continue
        path = folder / f"{version}_{name}.keras"
        try:
            make(keras, name, lambda build=build: build(keras), path, **options)
        except Exception as problem:
            path.unlink(missing_ok=True)
            path.with_suffix(".npz").unlink(missing_ok=True)
            reason = (str(problem).strip().splitlines() or [""])[0]
            print(f"{path.stem}: left out: {type(problem).__name__}: {reason[:200]}")
    print(f"{len(list(folder.glob(f'{version}_*.keras')))} files written")


def main() -> None:
    """Write or pack the files."""
    parser = argparse.ArgumentParser(description="Write small Keras archives in the naming of this version of Keras.")
    parser.add_argument("folder", type=Path)
    parser.add_argument("--only", nargs="*", help="names of cases")
    parser.add_argument("--pack", type=Path, help="put the folder's files into this archive")
    options = parser.parse_args()
    if options.pack:
        pack(options.folder, options.pack)
        return
    os.environ.setdefault("KERAS_BACKEND", "torch")
    options.folder.mkdir(parents=True, exist_ok=True)
    write(options.folder, options.only)


if __name__ == "__main__":
    main()
