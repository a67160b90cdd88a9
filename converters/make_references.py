"""Run the files of models/ in Keras 2 and keep every layer's outputs for four inputs, drawn by seed.

PYTHON converters/make_references.py        with TensorFlow 2.15; writes converters/references/*.npz
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

HERE = Path(__file__).resolve().parent


def main() -> None:
    """Write one reference a model."""
    import tensorflow as tf

    (HERE / "references").mkdir(exist_ok=True)
    for path in sorted((HERE.parent / "models").glob("*.h5")):
        model = tf.keras.models.load_model(path, compile=False)
        shape = model.input_shape[1:]
        images = np.random.default_rng(0).uniform(0, 1, (4, *shape)).astype(np.float32)
        layers = [layer for layer in model.layers if not isinstance(layer, tf.keras.layers.InputLayer)]
        outputs = tf.keras.Model(model.input, [layer.output for layer in layers])(images, training=False)
        stored = {
            f"L{index:02}_{type(layer).__name__}_{layer.name}": np.asarray(output)
            for index, (layer, output) in enumerate(zip(layers, outputs, strict=True))
        }
        stored["output_0"] = np.asarray(outputs[-1])
        np.savez_compressed(HERE / "references" / f"{path.stem}.npz", input_0=images, **stored)
        print(f"{path.stem}: {len(layers)} layers, TensorFlow {tf.__version__}")


if __name__ == "__main__":
    main()
