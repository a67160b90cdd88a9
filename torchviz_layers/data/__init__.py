"""Named datasets, folders of pictures and arrays, all read into one record: `Samples`."""

from torchviz_layers.data.datasets import load_dataset, parse_data_spec
from torchviz_layers.data.samples import Samples

__all__ = ["Samples", "load_dataset", "parse_data_spec"]
