"""Named datasets, image folders and arrays, all read into one record: `Samples`."""

from torchviz_layers.data.datasets import Samples, load_dataset, parse_data_spec

__all__ = ["Samples", "load_dataset", "parse_data_spec"]
