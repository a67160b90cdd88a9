"""Which samples to look at first, and why."""

from torchviz_layers.corner_cases.finding import CornerCase, find_corner_cases, telling_layers

__all__ = ["CornerCase", "find_corner_cases", "telling_layers"]
