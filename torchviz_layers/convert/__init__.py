"""Any Keras file -> PyTorch module, without TensorFlow or Keras.

A file is read in a child process (`reading`), its configuration becomes a graph of typed records (`config`, `records`), its
arrays are handed to the layers (`weights`), and one rule a kind of layer (`rules`) builds modules (`layers`) that
`building` joins.
"""

from torchviz_layers.convert.conversion import convert_keras
from torchviz_layers.convert.onnx_import import load_onnx

__all__ = ["convert_keras", "load_onnx"]
