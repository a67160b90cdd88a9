"""Names of Keras -> names of Python."""

from __future__ import annotations

import keyword
import re

from torch import nn

_RESERVED = frozenset(dir(nn.Module)) | {"training", "code", "graph"}


def attribute_name(keras_name: str) -> str:
    """Return the name of a layer's submodule: `.` and `/` become `_`, a name in use gets a `_` behind."""
    name = re.sub(r"[./\\:\s]", "_", keras_name) or "_"
    return f"{name}_" if name in _RESERVED or keyword.iskeyword(name) else name


def class_name(keras_name: str) -> str:
    """Return a model's name as that of a Python class."""
    name = re.sub(r"\W", "_", keras_name)
    return name if name.isidentifier() and not keyword.iskeyword(name) else f"Model_{name}"
