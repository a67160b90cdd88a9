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
a test holds it current. Names of Keras 1 (`Convolution2D`, `AtrousConvolution1D`, `Merge`, ...) are translated first.

"""

_LIMITS = """
## What does not convert

- `Lambda` and custom layers are code: nothing in a file is executed. Bring them with
  `convert_keras(path, custom_layers={"Kind or layer name": factory})`; `factory(config, weights)` returns an
  `nn.Module` that works on Keras's axes.
- Layers on strings (`StringLookup`, `TextVectorization`, `Hashing`) and lookups: a network of arrays has no place for
  them.
- `time_major` recurrent layers, `LocallyConnected` with implementation 2 or 3, `lanczos` resizing,
  `pad_to_aspect_ratio`.
- `stateful` recurrent layers start every batch from zeros, as after `reset_states()`.
- Bicubic resizing agrees with TensorFlow to 1e-3: TensorFlow reads its weights from a table.

## ONNX

Every recurrent layer that is not an `nn.LSTM` or `nn.GRU` (other activations, masks, convolutional cells) is a loop
over the steps and is unrolled in the ONNX file: it is exact for the number of steps it was exported with, and large
for long sequences. A file that does not tell its input's shape (a Sequential model of Keras 2 that was built by its
first batch) is exported with inputs that the caller gives: `export_onnx(model, path, inputs=(tensor,))`.
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
