"""Arrays of a file -> the layers of its network."""

from __future__ import annotations

from torchviz_layers.convert.keras_files.archive import assign_from_archive
from torchviz_layers.convert.keras_files.expected_arrays import all_layers
from torchviz_layers.convert.keras_files.hdf5_order import assign_from_hdf5
from torchviz_layers.convert.keras_files.keras1 import convert_arrays
from torchviz_layers.convert.keras_files.records import KerasFile, Network


def assign_weights(file: KerasFile, network: Network) -> None:
    """Set the `weights` of every layer of `network`, nested ones included.

    Layers without a rule get their arrays by the names in the file, for the caller's own factory.

    Raises
    ------
    ConversionError
        The file has more or fewer arrays than the configuration says, or does not say which layer an array is of.
    """
    if file.order is None:
        assign_from_archive(file, network)
    else:
        assign_from_hdf5(file, network)
    for leaf in all_layers(network):
        convert_arrays(leaf, file.backend)
