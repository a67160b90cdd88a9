"""Write the small files of tests/files/keras_layers.tar.xz with Keras itself: a model and its outputs for each case.

    PYTHON3 converters/make_layer_files.py FOLDER      with Keras 3 (torch backend): k3_*.keras
    PYTHON2 converters/make_layer_files.py FOLDER      with TensorFlow 2.15: tf_*.h5
    python converters/make_layer_files.py FOLDER --pack tests/files/keras_layers.tar.xz

Every array is drawn by seed, scales and variances around 1: default initialisation would hide a dropped bias. For
each model there is an .npz with its inputs (`input_0`, ...) and outputs (`output_0`, ...). A case that a Keras lacks or
cannot compute is printed with the reason; nothing else may fail. See layer_cases.py for the cases.
"""

from __future__ import annotations

import argparse
import os
import sys
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import layer_functions  # noqa: F401 - it enters its cases in GRAPHS
import numpy as np
from layer_cases import CHAINS, TOKENS
from layer_graphs import GRAPHS
from make_application_files import pack
from random_models import as_array, drawn, finalize, import_keras

SAMPLES = 2
LEFT_OUT = {
    **dict.fromkeys(
        ("k3_AveragePool1_same_3", "k3_AveragePool3_same"),
        "Keras 3 on torch counts padding in the mean, on TensorFlow and JAX it does not",
    ),
    **dict.fromkeys(
        ("k3_Resize_bicubic", "k3_Up_bicubic"), "Keras 3 on torch has another cubic than on TensorFlow and JAX"
    ),
    "k3_dense_prelu": "Keras 3 does not save the slopes of an activation",
}
INDICES = ("Emb", "CatEnc")  # cases whose inputs are indices, though Keras calls them float32


def cases(keras: Any) -> dict[str, Callable[[], Any]]:
    """Return what builds each model."""

    def chain(name: str) -> Any:
        shape, layers = CHAINS[name]
        return keras.Sequential([keras.Input(shape), *layers(keras.layers)])

    chains = {name: lambda name=name: chain(name) for name in CHAINS}
    return {**chains, **{name: lambda name=name: GRAPHS[name](keras) for name in GRAPHS}}


def inputs_for(name: str, model: Any, rng: np.random.Generator) -> list[np.ndarray]:
    """Return random inputs; indices end in zeros, and steps of sequences to be masked are zeros."""
    found = []
    for value in model.inputs:
        shape = (SAMPLES, *value.shape[1:])
        kind = str(getattr(value.dtype, "name", value.dtype))
        if "bool" in kind:
            found.append(rng.random(shape) < 0.7)
            found[-1][..., 0] = True  # somewhere to look
        elif "int" in kind or name.startswith(INDICES):
            array = rng.integers(1, TOKENS, shape)
            if len(shape) == 2 and shape[1] > 3:
                array[0, -2:], array[1, 1] = 0, 0
            found.append(array.astype(np.int32 if "int" in kind else np.float32))
        else:
            array = rng.standard_normal(shape).astype(np.float32)
            if "Mask" in name or name == "shared_lstm":
                array[0, -2:], array[1, 0], array[1, 2] = 0, 0, 0
            found.append(np.abs(array) % 1 if name in ("AutoContrast", "Solarization") else array)
    return found


def flat(value: Any) -> list[Any]:
    """Return the tensors of nested outputs; those of dicts by their keys."""
    if isinstance(value, dict):
        return [tensor for key in sorted(value) for tensor in flat(value[key])]
    if isinstance(value, (list, tuple)):
        return [tensor for entry in value for tensor in flat(entry)]
    return [as_array(value)]


def make(keras: Any, name: str, build: Callable[[], Any], path: Path, **save_options: Any) -> None:
    """Build, fill, run and save one model."""
    keras.backend.clear_session()
    model = build()
    rng = np.random.default_rng(zlib.crc32(name.encode()))
    for index, weight in enumerate(model.weights):
        value = as_array(weight)
        if value.dtype.kind == "f":
            weight.assign(drawn(f"{name}/{index}/{weight.name}", value.shape))
    finalize(model)
    inputs = inputs_for(name, model, rng)
    given: Any = inputs if len(inputs) > 1 else inputs[0]
    if isinstance(getattr(model, "_inputs_struct", None), dict):
        given = dict(zip(sorted(model._inputs_struct), inputs, strict=True))
    model.save(path, **save_options)
    outputs = flat(model(given, training=False))
    if name == "stateful":  # the second batch starts where the first ended
        outputs += flat(model(given, training=False))
    arrays = {f"input_{index}": array for index, array in enumerate(inputs)}
    arrays |= {f"output_{index}": array for index, array in enumerate(outputs)}
    np.savez(path.with_suffix(".npz"), **arrays)


def write(folder: Path, only: list[str] | None) -> int:
    """Write every case that this Keras has; return how many it has not."""
    keras = import_keras()
    is_second = "tensorflow" in sys.modules and not hasattr(keras, "ops")
    start, ending = ("tf_", "h5") if is_second else ("k3_", "keras")
    left = 0
    for name, build in cases(keras).items():
        if only and name not in only:
            continue
        path = folder / f"{start}{name}.{ending}"
        if path.stem in LEFT_OUT:
            print(f"{path.stem}: left out: {LEFT_OUT[path.stem]}")
            continue
        try:
            make(keras, name, build, path)
        except Exception as problem:
            path.unlink(missing_ok=True)
            path.with_suffix(".npz").unlink(missing_ok=True)
            left += 1
            reason = (str(problem).strip().splitlines() or [""])[0]
            print(f"{path.stem}: left out: {type(problem).__name__}: {reason[:150]}")
    print(f"{len(list(folder.glob(f'{start}*.{ending}')))} files written, {left} cases left out")
    return left


def main() -> None:
    """Write or pack the files."""
    parser = argparse.ArgumentParser(description="Write the small Keras files that the tests convert.")
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
