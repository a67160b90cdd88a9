"""Converted models against Keras's own outputs."""

from pathlib import Path

import numpy as np
import pytest
import torch

from torchviz_layers import convert_keras

AUTHOR_MODELS = ("CIFAR-10_CNN5", "MNIST_LeNet60", "MNIST_dense128")


@pytest.mark.parametrize("layout", ["torch", "keras"])
@pytest.mark.parametrize("name", AUTHOR_MODELS)
def test_every_layer_of_the_notebooks_models_equals_keras(data_dir: Path, name: str, layout: str):
    model = convert_keras(data_dir / f"keras/corpus/tonio73__{name}.h5", layout=layout)
    stored = np.load(data_dir / f"keras/reference/layers/{name}.npz")
    x = torch.from_numpy(stored["x256"])
    outputs = {}
    for child_name, child in model.named_children():
        child.register_forward_hook(lambda _m, _i, out, child_name=child_name: outputs.update({child_name: out}))
    with torch.no_grad():
        model(x.movedim(-1, 1) if x.ndim == 4 and layout == "torch" else x)
    for key in (key for key in stored.files if key.startswith("L")):
        out = outputs[key.split("_", 2)[2]]
        keras_axes = out.movedim(1, -1) if out.ndim == 4 else out
        np.testing.assert_allclose(keras_axes.numpy(), stored[key], atol=1e-5, rtol=0, err_msg=key)
