"""Corner cases: which samples to look at first, and why."""

from torchviz_layers.corner_cases.cases import CornerCase
from torchviz_layers.corner_cases.evidence import informative_layers
from torchviz_layers.corner_cases.finding import find_corner_cases

__all__ = ["CornerCase", "find_corner_cases", "informative_layers"]
