"""Train the two bundled networks on MNIST with Keras 2 and save them as legacy HDF5, each with its model card.

TensorFlow 2.15 is the last release whose own Keras writes this format, and it needs an older NumPy than the library,
so the script runs in an environment of its own and imports nothing of `torchviz_layers`::

    python3.11 -m venv .venv-train
    .venv-train/bin/pip install "tensorflow-cpu==2.15.1"
    .venv-train/bin/python models/train.py --data FOLDER

`FOLDER` holds the four MNIST files in IDX form, gzipped, by themselves or under `mnist/`. A run takes some minutes on
two cores and writes the two `.h5` files, a card beside each, and `sha256sums.txt`. The same machine, TensorFlow and
thread count give the same bytes again; another processor may round differently and end elsewhere.

The last 10 % of the training set choose the epoch. The test set is read once, after both networks are final.
"""

from __future__ import annotations

import argparse
import gzip
import hashlib
import struct
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import tensorflow as tf
from tensorflow.keras import Sequential, layers

SEED = 0
BATCH_SIZE = 128
VALIDATION_PART = 0.1
HERE = Path(__file__).resolve().parent


def dense128() -> Sequential:
    """One hidden layer of 128 units on the flattened 28 x 28 pixels."""
    return Sequential(
        [
            layers.Flatten(input_shape=(28, 28), name="flatten"),
            layers.Dropout(0.2, name="dropout_0"),
            layers.Dense(128, activation="relu", name="dense_0"),
            layers.Dropout(0.5, name="dropout_1"),
            layers.Dense(10, activation="softmax", name="dense_1"),
        ],
        name="MNIST_dense128",
    )


def lenet60() -> Sequential:
    """Two convolutions and three dense layers after LeNet-5, narrower and with dropout, on 32 x 32 pixels."""
    return Sequential(
        [
            layers.Conv2D(6, 3, activation="relu", input_shape=(32, 32, 1), name="conv_0"),
            layers.AveragePooling2D(name="average_pooling2d"),
            layers.Conv2D(16, 3, activation="relu", name="conv_1"),
            layers.AveragePooling2D(name="average_pooling2d_1"),
            layers.Flatten(name="flatten"),
            layers.Dropout(0.4, name="dropout_0"),
            layers.Dense(60, activation="relu", name="dense_0"),
            layers.Dropout(0.3, name="dropout_1"),
            layers.Dense(42, activation="relu", name="dense_1"),
            layers.Dense(10, activation="softmax", name="dense_2"),
        ],
        name="MNIST_LeNet60",
    )


def pad_to_32(images: np.ndarray) -> np.ndarray:
    """Surround images (n, 28, 28) with two pixels of zeros and add the channel: (n, 32, 32, 1)."""
    return np.pad(images, ((0, 0), (2, 2), (2, 2)))[..., None]


@dataclass(frozen=True)
class Recipe:
    """One network: how it is built, what its input looks like and how long it may train."""

    name: str
    build: Callable[[], Sequential]
    prepare: Callable[[np.ndarray], np.ndarray]
    epochs: int
    input_note: str


RECIPES = (
    Recipe("MNIST_dense128", dense128, lambda images: images, 100, "28 x 28, no channel"),
    Recipe("MNIST_LeNet60", lenet60, pad_to_32, 60, "28 x 28 padded with 2 zeros a side to 32 x 32 x 1"),
)


class KeepBest(tf.keras.callbacks.Callback):
    """Remember the weights of the best epoch: the highest validation accuracy; of equals, the lower loss."""

    def __init__(self) -> None:
        super().__init__()
        self.epoch, self.accuracy, self.loss = 0, -1.0, float("inf")
        self.weights: list[np.ndarray] = []

    def on_epoch_end(self, epoch: int, logs: dict[str, float]) -> None:
        """Compare this epoch with the best one so far."""
        if (logs["val_accuracy"], -logs["val_loss"]) > (self.accuracy, -self.loss):
            self.epoch, self.accuracy, self.loss = epoch + 1, logs["val_accuracy"], logs["val_loss"]
            self.weights = self.model.get_weights()


def read_idx(folder: Path, stem: str) -> np.ndarray:
    """Read one gzipped IDX file of bytes."""
    folder = folder / "mnist" if (folder / "mnist").is_dir() else folder
    content = gzip.decompress((folder / f"{stem}-ubyte.gz").read_bytes())
    n_dimensions = content[3]
    shape = struct.unpack(f">{n_dimensions}I", content[4 : 4 + 4 * n_dimensions])
    return np.frombuffer(content, np.uint8, offset=4 + 4 * n_dimensions).reshape(shape)


def read_split(folder: Path, prefix: str) -> tuple[np.ndarray, np.ndarray]:
    """Read images (n, 28, 28) float32 in [0, 1] and labels (n,) of `train` or `t10k`."""
    images = read_idx(folder, f"{prefix}-images-idx3").astype(np.float32) / 255
    return images, read_idx(folder, f"{prefix}-labels-idx1").astype(np.int64)


def train(recipe: Recipe, images: np.ndarray, targets: np.ndarray) -> tuple[Sequential, KeepBest]:
    """Train one network from seed 0 and leave it with the weights of its best epoch."""
    tf.keras.backend.clear_session()
    tf.keras.utils.set_random_seed(SEED)
    model = recipe.build()
    model.compile("adam", loss="sparse_categorical_crossentropy", metrics=["accuracy"])
    best = KeepBest()
    model.fit(
        recipe.prepare(images),
        targets,
        batch_size=BATCH_SIZE,
        epochs=recipe.epochs,
        validation_split=VALIDATION_PART,
        callbacks=[best],
        verbose=2,
    )
    model.set_weights(best.weights)
    return model, best


def save(recipe: Recipe, model: Sequential) -> str:
    """Write `models/NAME.h5` without the optimizer's state and return its sha256."""
    path = HERE / f"{recipe.name}.h5"
    model.save(path, save_format="h5", include_optimizer=False)
    return hashlib.sha256(path.read_bytes()).hexdigest()


CARD = """# {name}

{what}

| | |
| --- | --- |
| file | `{name}.h5`, Keras 2 legacy HDF5, weights and architecture, no optimizer state |
| sha256 | `{sha256}` |
| input | {input_note}; float32 in [0, 1], ink is 1 |
| output | softmax over the digits 0 to 9 |
| parameters | {parameters:,} |
| data | MNIST (LeCun, Cortes, Burges): 54,000 images train, the last 6,000 of the training set choose the epoch |
| recipe | Adam (learning rate 0.001), batch {batch_size}, cross-entropy, seed {seed}, at most {epochs} epochs |
| chosen epoch | {epoch} (highest validation accuracy; of equals, the lower loss) |
| validation accuracy | {validation:.4f} |
| test accuracy | {test:.4f} (10,000 images, read once, after the choice) |
| written by | `models/train.py`, TensorFlow {tensorflow} |

```
{layers}
```

Meant for demonstrations and tests of this project: it knows MNIST digits and nothing else. Licence: the project's.
"""


def write_card(recipe: Recipe, model: Sequential, best: KeepBest, test_accuracy: float, sha256: str) -> None:
    """Write `models/NAME.md` from what was measured."""
    lines = [f"{layer.name:<20} {type(layer).__name__:<18} {layer.output_shape[1:]}" for layer in model.layers]
    card = CARD.format(
        name=recipe.name,
        what=recipe.build.__doc__,
        sha256=sha256,
        input_note=recipe.input_note,
        parameters=model.count_params(),
        batch_size=BATCH_SIZE,
        seed=SEED,
        epochs=recipe.epochs,
        epoch=best.epoch,
        validation=best.accuracy,
        test=test_accuracy,
        tensorflow=tf.__version__,
        layers="\n".join(lines),
    )
    (HERE / f"{recipe.name}.md").write_text(card, encoding="utf-8")


def main() -> None:
    """Train both networks, then read the test set and write files, cards and checksums."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, required=True, metavar="FOLDER", help="folder of the MNIST .gz files")
    folder = parser.parse_args().data
    tf.config.experimental.enable_op_determinism()
    images, targets = read_split(folder, "train")
    trained = [(recipe, *train(recipe, images, targets)) for recipe in RECIPES]

    test_images, test_targets = read_split(folder, "t10k")
    sums = []
    for recipe, model, best in trained:
        probabilities = model.predict(recipe.prepare(test_images), batch_size=1000, verbose=0)
        accuracy = float((probabilities.argmax(axis=1) == test_targets).mean())
        sha256 = save(recipe, model)
        write_card(recipe, model, best, accuracy, sha256)
        sums.append(f"{sha256}  {recipe.name}.h5\n")
        print(f"{recipe.name}: epoch {best.epoch}, validation {best.accuracy:.4f}, test {accuracy:.4f}")
    (HERE / "sha256sums.txt").write_text("".join(sums), encoding="utf-8")


if __name__ == "__main__":
    main()
