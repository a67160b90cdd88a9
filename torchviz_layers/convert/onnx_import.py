"""ONNX file -> `nn.Module` whose nodes are submodules."""

from __future__ import annotations

from pathlib import Path

from torch import nn

from torchviz_layers.exceptions import ConversionError


def load_onnx(path: str | Path) -> nn.Module:
    """Load an ONNX file as a module (to come)."""
    raise ConversionError(f"{path}: ONNX files cannot be read yet")
