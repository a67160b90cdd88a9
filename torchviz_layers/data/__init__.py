"""Named datasets, folders of pictures and arrays, all read into one record: `Samples`."""

from torchviz_layers.data.datasets import load_dataset
from torchviz_layers.data.samples import Samples
from torchviz_layers.data.specs import parse_data_spec

__all__ = ["Samples", "load_dataset", "parse_data_spec"]
