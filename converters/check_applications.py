"""Convert every architecture of keras.applications with random weights and compare it with Keras.

    python converters/check_applications.py [--keras3 PYTHON] [--keras2 PYTHON] [--only NAME ...] [--size 160]

PYTHON is the interpreter of an environment with Keras 3 or with TensorFlow 2.15. Every array is drawn by seed:
default initialisation would hide a dropped bias or normalisation. Each model is saved as .h5 and .keras, converted
by this library in a process of its own, and compared at its last feature layer; the table is kept in
converters/applications.tsv, one row an architecture, Keras version and format. "apart" is how far the features of two
images are from each other, "difference" how far ours are from Keras's, both relative to the largest.
"""

from __future__ import annotations

import argparse
import collections
import csv
import json
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
from random_models import as_array, drawn, finalize, import_keras

HERE = Path(__file__).resolve().parent
TABLE = HERE / "applications.tsv"
COLUMNS = ("keras", "architecture", "format", "parameters", "apart", "difference", "seconds", "peak_mb", "status")
TOLERANCE = 1e-4
UNBUILT = "Keras cannot build it"


def make(architecture: str, size: int, folder: Path) -> None:
    """Build, fill and save one architecture with the Keras of this interpreter, with its features for two images."""
    keras = import_keras()
    model = getattr(keras.applications, architecture)(weights=None, input_shape=(size, size, 3), classes=10)
    brightest = 255 if any(type(layer).__name__ == "Rescaling" for layer in model.layers) else 1
    images = np.random.default_rng(1).uniform(0, brightest, (2, size, size, 3)).astype(np.float32)
    feature = model.layers[-2]
    features, output = fill(model, keras.Model(model.inputs, [feature.output, model.output]), images)
    np.savez(folder / "reference.npz", images=images, features=features, outputs=output)
    formats = []
    for ending in ("h5", "keras"):
        try:
            model.save(folder / f"model.{ending}")
            formats.append(ending)
        except Exception as problem:
            print(f"{architecture}.{ending}: Keras cannot save it: {str(problem)[:100]}", file=sys.stderr)
    version = str(getattr(keras, "__version__", "2.15.0"))
    facts = {"version": version, "feature": feature.name, "formats": formats, "parameters": int(model.count_params())}
    (folder / "facts.json").write_text(json.dumps(facts))


def fill(model: Any, probe: Any, images: np.ndarray) -> list[np.ndarray]:
    """Draw every array of a model; return its features and its output.

    The gain of the kernels comes down until the features of two images are less than 5 % apart: above that a deep
    network is chaotic and blows rounding errors up to any size, far below it forgets its input.
    """
    for gain in np.arange(2.0, 0.5, -0.1):
        for index, weight in enumerate(model.weights):
            value = as_array(weight)
            if value.dtype.kind == "f":
                depthwise = value.ndim == 4 and value.shape[-1] == 1
                path = f"{index}/{getattr(weight, 'path', weight.name)}"
                weight.assign(drawn(path, value.shape, float(gain), depthwise=depthwise))
        finalize(model)
        features = as_array(probe(images, training=False)[0])
        if np.isfinite(features).all() and apart(features) < 0.05:
            break
    if model.layers[-1].weights:  # logits of some units, or rounding would show in the probabilities
        kernel = model.layers[-1].weights[0]
        kernel.assign(as_array(kernel) / max(1.0, np.abs(features).max()))
    return [as_array(value) for value in probe(images, training=False)]


def apart(features: np.ndarray) -> float:
    """Return how far the features of two images are from each other, relative to the largest."""
    return float(np.abs(features[0] - features[1]).max() / np.abs(features).max())


def architectures() -> list[str]:
    """Return the names of keras.applications in this interpreter."""
    applications = import_keras().applications
    return [name for name in dir(applications) if name[0].isupper() and callable(getattr(applications, name))]


def compare(folder: Path, ending: str) -> dict[str, Any]:
    """Convert a saved model and return how far its features are from Keras's."""
    import torch

    from torchviz_layers import convert_keras
    from torchviz_layers.convert.keras_files.naming import attribute_name

    facts = json.loads((folder / "facts.json").read_text())
    stored = np.load(folder / "reference.npz")
    start = time.perf_counter()
    model = convert_keras(folder / f"model.{ending}", layout="keras")
    seconds = time.perf_counter() - start
    found: list[torch.Tensor] = []
    layer = model.get_submodule(attribute_name(facts["feature"]))
    layer.register_forward_hook(lambda _module, _inputs, output: found.append(output))
    with torch.no_grad():
        output = model(torch.from_numpy(stored["images"])).numpy()
    features = found[0].numpy()
    if features.shape != stored["features"].shape:
        features = np.moveaxis(features, 1, -1)
    finite = bool(np.isfinite(features).all() and np.isfinite(output).all())
    largest = np.abs(stored["features"]).max()
    difference = float(np.abs(features - stored["features"]).max() / largest)
    final = float(np.abs(output - stored["outputs"]).max())
    good = finite and difference <= TOLERANCE and final <= 1e-3
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    return {
        "apart": f"{apart(stored['features']):.1e}",
        "difference": f"{difference:.1e}",
        "seconds": f"{seconds:.2f}",
        "peak_mb": round(peak),
        "status": "ok" if good else "DIFFERS",
    }


def check(python: str, architecture: str, size: int) -> list[dict[str, Any]]:
    """Return the rows of one architecture."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        command = [python, __file__, "--make", architecture, "--size", str(size), "--folder", name]
        made = subprocess.run(command, capture_output=True, text=True, check=False)
        if not (folder / "facts.json").exists():
            reason = (made.stderr.strip().splitlines() or ["no output"])[-1].partition(". ")[0]
            return [{"architecture": architecture, "status": f"{UNBUILT}: {reason}"}]
        facts = json.loads((folder / "facts.json").read_text())
        rows = []
        for ending in facts["formats"]:
            command = [sys.executable, __file__, "--compare", ending, "--folder", name]
            done = subprocess.run(command, capture_output=True, text=True, check=False)
            last = (done.stdout.strip().splitlines() or ["{}"])[-1]
            outcome = (
                json.loads(last)
                if done.returncode == 0
                else {"status": (done.stderr.strip().splitlines() or ["died"])[-1][:200]}
            )
            rows.append(
                {
                    "keras": facts["version"],
                    "architecture": architecture,
                    "format": ending,
                    "parameters": facts["parameters"],
                    **outcome,
                }
            )
        return rows


def keep(rows: list[dict[str, Any]]) -> None:
    """Put rows into the table; they replace older ones of the same model."""
    table: dict[tuple[str, ...], dict[str, Any]] = {}
    old = list(csv.DictReader(TABLE.open(), delimiter="\t")) if TABLE.exists() else []
    for row in [*old, *rows]:
        table[tuple(str(row.get(key, "")) for key in ("keras", "architecture", "format"))] = row
    with TABLE.open("w", newline="") as file:
        writer = csv.DictWriter(file, COLUMNS, delimiter="\t", lineterminator="\n", restval="")
        writer.writeheader()
        writer.writerows(table[key] for key in sorted(table))


def main() -> int:
    """Check every architecture of every Keras given."""
    parser = argparse.ArgumentParser(description="Hold conversions of keras.applications to Keras.")
    parser.add_argument("--keras3", default=sys.executable, help="interpreter with Keras 3")
    parser.add_argument("--keras2", help="interpreter with TensorFlow 2.15")
    parser.add_argument("--skip-keras3", action="store_true")
    parser.add_argument("--only", nargs="*", default=None)
    parser.add_argument("--size", type=int, default=160)
    for hidden in ("--make", "--compare", "--folder"):
        parser.add_argument(hidden, help=argparse.SUPPRESS)
    parser.add_argument("--list", action="store_true", help="print the architectures of this interpreter's Keras")
    options = parser.parse_args()
    if options.list:
        print(json.dumps(architectures()))
    elif options.make:
        make(options.make, options.size, Path(options.folder))
    elif options.compare:
        print(json.dumps(compare(Path(options.folder), options.compare)))
    else:
        return run(options)
    return 0


def run(options: argparse.Namespace) -> int:
    """Go through the interpreters and print the table as it grows."""
    tally: collections.Counter[str] = collections.Counter()
    for python in [*([] if options.skip_keras3 else [options.keras3]), *([options.keras2] if options.keras2 else [])]:
        listed = subprocess.run([python, __file__, "--list"], capture_output=True, text=True, check=True)
        for architecture in json.loads(listed.stdout.strip().splitlines()[-1]):
            if options.only and architecture not in options.only:
                continue
            rows = check(python, architecture, options.size)
            keep(rows)
            for row in rows:
                print("  ".join(str(row.get(column, "")) for column in COLUMNS), flush=True)
                tally["ok" if row["status"] == "ok" else "not built" if UNBUILT in row["status"] else "not ok"] += 1
    print(f"{tally['ok']} files ok, {tally['not ok']} not; {tally['not built']} architectures that Keras cannot build")
    return int(tally["not ok"] > 0)


if __name__ == "__main__":
    sys.exit(main())
