"""Any Keras file -> PyTorch module, without TensorFlow or Keras; ONNX in and out.

A file is read in a child process (`reading`), its configuration becomes a graph of typed records (`config`,
`records`), its arrays are handed to the layers (`weights`), and one rule a kind of layer (`rules`) builds modules
(`layers`) that `building` joins. `source`, `onnx_export`, `verification` and `summary` work on the finished module.
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
