"""Layers by name, index or glob, read alike by every command and function."""

from __future__ import annotations

import fnmatch
import re
from collections.abc import Collection, Mapping, Sequence
from typing import Any, SupportsIndex

from torchviz_layers.exceptions import UnknownLayerError

NUMBERS_ARE_NAMES = "layers are named by numbers here, so that an index must count from the end (-1 the last)"
_TOP = re.compile("[.:]")  # ends the name of the outermost module in `0.1.conv` and in `0:1`, the second call of `0`


def position_of(text: str, names: Collection[Any]) -> int | None:
    """Return the index that a text stands for, or None where it is a name or a pattern.

    An exact name is never an index. Where other layers are named by numbers (those of any `nn.Sequential`), a number
    that names none is not taken for an index either, unless it is negative: it would be another layer than was meant.

    Examples
    --------
    >>> position_of("1", ["conv", "dense"]), position_of("-1", ["0", "1"]), position_of("2", ["0", "1"])
    (1, -1, None)
    """
    if not re.fullmatch(r"-?\d+", text) or text in names:
        return None
    return None if is_misleading_number(text, names) else int(text)


def is_misleading_number(text: str, names: Collection[Any]) -> bool:
    """Say whether a text is a number that names no layer, where layers, or what holds them, are named by numbers.

    A store of `nn.Sequential(nn.Sequential(...), ...)` has `0.0` and `1.0` without `1`, which is a layer of the model.
    """
    return text.isdecimal() and text not in names and any(_TOP.split(str(name))[0].isdecimal() for name in names)


def resolve_layers(activations: Mapping[Any, Any], layers: str | int | Sequence[str | int] | None) -> list[Any]:
    """Return the names of the layers that are meant, each once; all without `layers`.

    Raises
    ------
    UnknownLayerError
        If a name or pattern matches nothing, or an index is out of range.
    """
    names = list(activations)
    if layers is None:
        return names
    several = [layers] if isinstance(layers, str | SupportsIndex) else list(layers)
    return list(dict.fromkeys(name for one in several for name in _resolve_one(activations, names, one)))


def _resolve_one(activations: Mapping[Any, Any], names: list[Any], wanted: Any) -> list[Any]:
    if wanted in names and not isinstance(wanted, bool):
        return [wanted]
    position = position_of(wanted, names) if isinstance(wanted, str) else wanted
    if isinstance(position, SupportsIndex) and not isinstance(position, bool):
        index = position.__index__()
        if not -len(names) <= index < len(names):
            raise UnknownLayerError(f"layer index {index} is out of range: there are {len(names)} layers")
        return [names[index]]
    if not isinstance(wanted, str):
        raise UnknownLayerError(f"layers: {wanted!r} is a {type(wanted).__name__}; give a name, an index or a glob")
    if wanted.removesuffix(":0") in names:  # the first call of a module goes by its name
        return [wanted.removesuffix(":0")]
    matches = [name for name in names if isinstance(name, str) and fnmatch.fnmatchcase(name, wanted)]
    return matches or _unknown(activations, names, wanted)


def _unknown(activations: Mapping[Any, Any], names: list[Any], wanted: str) -> list[Any]:
    try:
        activations[wanted]  # what is stored says itself why a layer has no rows
    except UnknownLayerError as problem:
        message = str(problem)
    except KeyError:
        message = f"no activations of {wanted!r}; there are those of {', '.join(map(str, names[:8]))}"
    hint = f"; {NUMBERS_ARE_NAMES}" if is_misleading_number(wanted, names) else ""
    raise UnknownLayerError(message + hint)
