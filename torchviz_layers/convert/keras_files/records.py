"""The content of a Keras file as typed records, without torch, h5py or Keras."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

from torchviz_layers._common.arrays import Array

_LAYERS_WITHOUT_TRAINABLE = ("InputLayer", "SpatialDropout", "Discretization")  # in their configuration


@dataclass(frozen=True)
class KerasFile:
    """A Keras file as it was read: its configuration and its arrays, still in the file's own structure.

    `arrays` maps a path inside the weights to an array. `order` lists, for the HDF5 format of Keras 1 and 2, each
    layer's paths in the order in which Keras wrote them; it is None for a `.keras` archive. `group_names` gives the
    layer of each group of an archive, where Keras wrote it (3.6 and later).
    """

    path: Path
    config: dict[str, Any]
    keras_version: str
    backend: str
    arrays: dict[str, Array]
    order: dict[str, list[str]] | None
    group_names: dict[str, str] = field(default_factory=dict)


class TensorRef(NamedTuple):
    """One output of one call of a layer."""

    layer: str
    call: int
    output: int


@dataclass(frozen=True)
class Constant:
    """An array that is an argument of a call: it is stored in the configuration, not among the weights."""

    value: Array


@dataclass(frozen=True)
class Call:
    """One use of a layer: `args` and `kwargs` hold `TensorRef`, `Constant` and plain values, nested in lists."""

    args: tuple[Any, ...]
    kwargs: dict[str, Any] = field(default_factory=dict)


@dataclass
class Layer:
    """One Keras layer: what it is, how it is called, and its arrays by the name that Keras gives them.

    `shared_id` is the same wherever a configuration describes the same object, and empty for other layers.
    """

    name: str
    kind: str
    config: dict[str, Any]
    keras_version: str
    module: str = ""
    calls: list[Call] = field(default_factory=list)
    network: Network | None = None
    children: dict[str, Layer] = field(default_factory=dict)
    weights: dict[str, Array] = field(default_factory=dict)
    shared_id: str = ""

    @property
    def major(self) -> int:
        """Keras's major version: 1, 2 or 3."""
        return int(self.keras_version.split(".")[0])

    @property
    def is_operation(self) -> bool:
        """True for a node of Keras 3 that is a function of `keras.ops`, not a layer; HDF5 files drop the module."""
        if self.module:
            return ".ops." in f"{self.module}."
        is_layer = "trainable" in self.config or self.kind.startswith(_LAYERS_WITHOUT_TRAINABLE)
        return self.major >= 3 and not is_layer and self.network is None

    @property
    def batch_shape(self) -> list[int | None] | None:
        """The shape of an input layer, batch included, where the configuration has one."""
        shape = self.get("batch_shape") or self.get("batch_input_shape")
        return shape if isinstance(shape, list) else None

    def short_config(self, limit: int = 300) -> str:
        """Return the configuration for an error message, without entries that do not describe the layer."""
        entries = []
        for key, value in self.config.items():
            if value is not None and key not in ("name", "trainable", "dtype"):
                entries.append(f"{key}={value!r}")
        text = ", ".join(entries) or "empty"
        return text if len(text) <= limit else f"{text[:limit]}..."

    def get(self, key: str, default: Any = None) -> Any:
        """Return an entry of the configuration; an entry that is None counts as missing."""
        value = self.config.get(key)
        return default if value is None else value


@dataclass
class Network:
    """A graph of layers. `inputs` and `outputs` nest `TensorRef` in lists or dicts as the Keras model does."""

    name: str
    layers: dict[str, Layer]
    inputs: Any
    outputs: Any
    trainable: bool = True
    is_sequential: bool = False
