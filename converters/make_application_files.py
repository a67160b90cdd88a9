"""Write tests/files/keras_applications.tar.xz: small architectures of keras.applications, without their arrays.

    PYTHON3 converters/make_application_files.py FOLDER      with Keras 3 (torch backend)
    PYTHON2 converters/make_application_files.py FOLDER      with TensorFlow 2.15
    python converters/make_application_files.py FOLDER --pack tests/files/keras_applications.tar.xz

An architecture is kept as what Keras writes into a .h5 file apart from the arrays, the shapes of these, and what Keras
computed for arrays and images that are drawn by seed: `write_h5` draws them again, here and in the tests.
"""

from __future__ import annotations

import argparse
import json
import tarfile
from pathlib import Path
from typing import Any

import h5py
import numpy as np
from random_models import as_array, drawn, finalize, import_keras

# the side of the images, and the gain of the kernels: with more, a deep network blows rounding errors up; with less, it
# forgets its input
ARCHITECTURES = {
    "tf": {"MobileNetV2": (64, 1.0), "NASNetMobile": (64, 1.5), "DenseNet121": (48, 1.5)},
    "k3": {"MobileNetV3Small": (64, 1.5), "EfficientNetV2B0": (64, 2.0)},
}
SAMPLES = 2


def images_for(size: int, brightest: float) -> np.ndarray:
    """Return the images: (samples, size, size, 3), up to `brightest`."""
    return np.random.default_rng(0).uniform(0, brightest, (SAMPLES, size, size, 3)).astype(np.float32)


def write_h5(path: Path, facts: dict[str, Any]) -> None:
    """Write the model of `facts` as Keras 2 and 3 write .h5 files, its arrays drawn."""
    with h5py.File(path, "w") as file:
        file.attrs.update({"model_config": facts["config"], "keras_version": facts["version"], "backend": ""})
        group = file.create_group("model_weights")
        group.attrs["layer_names"] = [name.encode() for name in facts["arrays"]]
        for layer, arrays in facts["arrays"].items():
            own = group.create_group(layer)
            own.attrs["weight_names"] = [name.encode() for name, _ in arrays]
            for name, shape in arrays:
                own[name] = drawn(f"{layer}/{name}", shape, facts["gain"])


def facts_of(path: Path) -> dict[str, Any]:
    """Return what a .h5 file says, apart from its arrays."""
    with h5py.File(path) as file:
        group = file["model_weights"]
        arrays = {
            layer: [(name, list(group[layer][name].shape)) for name in group[layer].attrs["weight_names"]]
            for layer in group.attrs["layer_names"]
        }
        return {"config": file.attrs["model_config"], "version": file.attrs["keras_version"], "arrays": arrays}


def make(keras: Any, architecture: str, size: int, gain: float, path: Path) -> None:
    """Build one architecture, give it its drawn arrays, and keep the facts and its last features."""
    keras.backend.clear_session()
    model = getattr(keras.applications, architecture)(weights=None, input_shape=(size, size, 3), classes=10)
    whole = path.with_suffix(".h5")
    model.save(whole)
    facts = facts_of(whole)
    whole.unlink()
    for layer in model.layers:
        weights = [*layer.trainable_weights, *layer.non_trainable_weights]  # Keras's order in .h5 files
        for weight, (name, shape) in zip(weights, facts["arrays"].get(layer.name, ()), strict=True):
            weight.assign(drawn(f"{layer.name}/{name}", shape, gain))
    finalize(model)
    feature = next(layer for layer in reversed(model.layers) if len(layer.output.shape) == 4).name
    facts |= {"size": size, "gain": gain, "feature": feature, "brightest": 255 if "Rescaling" in facts["config"] else 1}
    probe = keras.Model(model.inputs, model.get_layer(feature).output)
    features = as_array(probe(images_for(size, facts["brightest"]), training=False))
    path.write_text(json.dumps(facts))
    np.save(path.with_suffix(".npy"), features)
    largest, apart = np.abs(features).max(), np.abs(features[0] - features[1]).max()
    print(f"{path.stem}: {model.count_params():,} parameters, {features.shape} up to {largest:.3g}, {apart:.1e} apart")


def pack(folder: Path, archive: Path) -> None:
    """Put the folder's files into a tar archive, always the same for the same files: kinds of files together."""
    with tarfile.open(archive, "w:xz", preset=9) as out:
        for path in sorted(folder.iterdir(), key=lambda path: (path.suffix, path.name)):
            entry = tarfile.TarInfo(path.name)
            entry.size = path.stat().st_size
            with path.open("rb") as file:
                out.addfile(entry, file)


def main() -> None:
    """Write or pack the files."""
    parser = argparse.ArgumentParser(description="Write small architectures of keras.applications for the tests.")
    parser.add_argument("folder", type=Path)
    parser.add_argument("--pack", type=Path, help="put the folder's files into this archive")
    options = parser.parse_args()
    if options.pack:
        pack(options.folder, options.pack)
        return
    keras = import_keras()
    start = "k3" if hasattr(keras, "ops") else "tf"
    options.folder.mkdir(parents=True, exist_ok=True)
    for architecture, (size, gain) in ARCHITECTURES[start].items():
        make(keras, architecture, size, gain, options.folder / f"{start}_{architecture}.json")


if __name__ == "__main__":
    main()
