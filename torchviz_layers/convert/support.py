"""The page that says which layers convert: `python -m torchviz_layers.convert.support > docs/keras-layers.md`."""

from __future__ import annotations

import sys
from collections.abc import Iterable

from torchviz_layers.convert.layers.activations import ACTIVATIONS, AXIS_ACTIVATIONS
from torchviz_layers.convert.layers.operations import OPERATIONS
from torchviz_layers.convert.registry import all_rules
from torchviz_layers.convert.rules.names import TENSORFLOW_NAMES

_INTRODUCTION = """\
# Keras layers that convert

This page is generated from the registry of rules (`python -m torchviz_layers.convert.support > docs/keras-layers.md`);
a test checks that it is current. Names of Keras 1 (`Convolution2D`, `AtrousConvolution1D`, `Merge`, ...) are
translated first.

"""

_LIMITS = """
## What does not convert

Every such layer is an error that names it with its configuration; all of a file's are named at once.

- `Lambda` and custom layers are code, and so are `TorchModuleWrapper`, `JaxLayer`, `FlaxLayer` and `TFSMLayer`: nothing
  in a file is executed. Pass modules for them with
  `convert_keras(path, custom_layers={"Kind or layer name": factory})`; `factory(config, weights)` returns an
  `nn.Module` that works on Keras's axes.
- Layers on strings and lookups (`StringLookup`, `IntegerLookup`, `TextVectorization`, `Hashing`, `HashedCrossing`,
  `DenseFeatures`) and on bounding boxes: a network of arrays cannot represent them.
- Not written yet: `MelSpectrogram`, `RandomFourierFeatures`; `LocallyConnected` with implementation 2 or 3,
  `time_major` recurrent layers, `BatchNormalization` over several axes at once, `Discretization` with bins from
  `adapt()`.

## Good to know

- Sequences keep Keras's axes, (n, steps, channels). Images and volumes run with channels first, whatever the layout.
- A `stateful` recurrent layer starts each batch from the last states of the batch before it, as Keras's
  `predict` does; its `reset_states()` forgets them. A batch of another size starts from zeros, and exported programs
  (`torch.export`, ONNX) start every batch from zeros.
- A layer that the graph calls in two ways (with other arguments) becomes two modules that share their weights:
  `attention` and `attention__2`.
- Keras 3 on torch differs from Keras on TensorFlow and JAX in cubic resizing and in the border of 1D and 3D average
  pooling with padding "same"; a converted model does as TensorFlow and JAX do.
- With `layout="torch"` an input keeps Keras's axes where no layer on images is reached through layers that leave the
  axes alone, as behind a `Reshape`.
"""


def support_page() -> str:
    """Return the page as Markdown."""
    lines = [_INTRODUCTION.rstrip("\n"), "", "| Keras layer | how it is converted |", "| --- | --- |"]
    rows = []
    for rule in all_rules():
        kinds = [kind for kind in rule.kinds if not kind.startswith("ops.")]
        summary = (rule.build.__doc__ or "").strip().splitlines()[0].rstrip(".")
        rows += [(kind, summary) for kind in kinds]
    lines += [f"| `{kind}` | {summary} |" for kind, summary in sorted(rows)]
    lines += ["", f"{len(rows)} kinds.", "", "## Activations", "", _listed([*ACTIVATIONS, *AXIS_ACTIVATIONS])]
    lines += ["", "## Functions in the graph", "", "Nodes of `keras.ops` (Keras 3) and their like in TensorFlow:", ""]
    lines += [_listed(OPERATIONS), "", "Functions of TensorFlow (`TFOpLambda`):", "", _listed(TENSORFLOW_NAMES)]
    return "\n".join(lines) + "\n" + _LIMITS


def _listed(names: Iterable[str]) -> str:
    words = [f"`{name}`" for name in sorted(names)]
    lines, line = [], ""
    for word in words:
        if len(line) + len(word) + 2 > 118:
            lines.append(line.rstrip())
            line = ""
        line += f"{word}, "
    return "\n".join([*lines, line.rstrip(", ")])


if __name__ == "__main__":
    sys.stdout.write(support_page())
