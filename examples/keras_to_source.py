"""A Keras file becomes PyTorch source that needs torch alone.

python examples/keras_to_source.py [FILE.h5]
"""

import runpy
import sys

import torch
from safetensors.torch import load_file

from torchviz_layers import convert_keras
from torchviz_layers.convert import conversion_table, write_source
from torchviz_layers.models import bundled_path

module = convert_keras(sys.argv[1] if len(sys.argv) > 1 else bundled_path("MNIST_LeNet60.h5"))
print(conversion_table(module))
source, weights = write_source(module, "lenet.py", name="LeNet")

model = runpy.run_path(str(source))["LeNet"]()
model.load_state_dict(load_file(weights))
images = torch.rand(5, *module.input_shapes[0])
with torch.no_grad():
    print("largest difference:", float((model.eval()(images) - module(images)).abs().max()))
