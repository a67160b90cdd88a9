"""The command line."""

from torchviz_layers.cli.commands import cli, main

__all__ = ["cli", "main"]
