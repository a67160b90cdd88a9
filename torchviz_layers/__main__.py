"""``python -m torchviz_layers``: the command line."""

from torchviz_layers.cli import main

main()
