"""Any Keras file -> PyTorch module, without TensorFlow or Keras; ONNX in and out.

`keras_files` reads a file in a child process, turns its configuration into a graph of typed records, and assigns its
arrays to the layers. `rules` has one rule for each kind of layer, which builds a module of `layers`; `building` joins
these modules. `source`, `onnx`, `verification` and `summary` work on the finished module.
"""

from torchviz_layers.convert.conversion import convert_keras
from torchviz_layers.convert.onnx.export import export_onnx
from torchviz_layers.convert.onnx.loading import load_onnx
from torchviz_layers.convert.source.writer import write_source
from torchviz_layers.convert.summary import ConversionRow, ConversionTable, conversion_table, example_inputs
from torchviz_layers.convert.verification import Verification, verify

__all__ = [
    "ConversionRow",
    "ConversionTable",
    "Verification",
    "conversion_table",
    "convert_keras",
    "example_inputs",
    "export_onnx",
    "load_onnx",
    "verify",
    "write_source",
]
