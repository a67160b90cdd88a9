"""ONNX files, read as modules with a submodule for every node, and written from modules."""

from torchviz_layers.convert.onnx.export import export_onnx
from torchviz_layers.convert.onnx.loading import load_onnx

__all__ = ["export_onnx", "load_onnx"]
