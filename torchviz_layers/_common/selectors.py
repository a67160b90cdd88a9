"""Layers given by name, index or glob, with the same meaning in every command and function."""

from __future__ import annotations

import fnmatch
import re
from collections.abc import Collection, Mapping, Sequence
from typing import Any, NoReturn, SupportsIndex

from torchviz_layers.exceptions import UnknownLayerError

NUMBERS_ARE_NAMES = "layers are named by numbers here, so that an index must count from the end (-1 the last)"
# What follows the outermost module's name in a layer's: "." in `0.1.conv`, ":" in `0:1` (the second call of `0`).
_SEPARATOR = re.compile("[.:]")


def position_of(text: str, names: Collection[Any]) -> int | None:
    """Return the index that a text means, or None if it is a name or a pattern.

    An exact name is never an index. Where layers are named by numbers, as in any `nn.Sequential`, only a negative
    number is an index: a positive one that is not a name would select another layer than was meant.

    Examples
    --------
    >>> position_of("1", ["conv", "dense"]), position_of("-1", ["0", "1"]), position_of("2", ["0", "1"])
    (1, -1, None)
    """
    if not re.fullmatch(r"-?\d+", text) or text in names:
        return None
    return None if is_misleading_number(text, names) else int(text)


def is_misleading_number(text: str, names: Collection[Any]) -> bool:
    """Return whether a text is a number that is no layer's name, among layers that are named by numbers.

    The outermost module's name counts: a store of `nn.Sequential(nn.Sequential(...), ...)` may have `0.0` and `1.0`
    only, and `1` is still a module of the model, not the second layer of the store.
    """
    if not text.isdecimal() or text in names:
        return False
    outermost = (_SEPARATOR.split(str(name))[0] for name in names)
    return any(name.isdecimal() for name in outermost)


def resolve_layers(activations: Mapping[Any, Any], layers: str | int | Sequence[str | int] | None) -> list[Any]:
    """Return the names of the layers that `layers` selects, each once; all names if it is None.

    Raises
    ------
    UnknownLayerError
        If a name or pattern matches nothing, or an index is out of range.
    """
    names = list(activations)
    if layers is None:
        return names
    wanted = [layers] if isinstance(layers, str | SupportsIndex) else list(layers)
    found: dict[Any, None] = {}  # a dict keeps the order of insertion, a set does not
    for one in wanted:
        found |= dict.fromkeys(_resolve_one(activations, names, one))
    return list(found)


def _resolve_one(activations: Mapping[Any, Any], names: list[Any], wanted: Any) -> list[Any]:
    """Return the names that one name, index or glob selects; raise `UnknownLayerError` if there is none."""
    if wanted in names and not isinstance(wanted, bool):  # True equals 1, which may be a name
        return [wanted]
    position = position_of(wanted, names) if isinstance(wanted, str) else wanted
    if isinstance(position, SupportsIndex) and not isinstance(position, bool):  # NumPy's integers too
        index = position.__index__()
        if not -len(names) <= index < len(names):
            raise UnknownLayerError(f"layer index {index} is out of range: there are {len(names)} layers")
        return [names[index]]
    if not isinstance(wanted, str):
        raise UnknownLayerError(f"layers: {wanted!r} is a {type(wanted).__name__}; give a name, an index or a glob")
    if wanted.removesuffix(":0") in names:  # the first call of a module has the module's name
        return [wanted.removesuffix(":0")]
    matches = [name for name in names if isinstance(name, str) and fnmatch.fnmatchcase(name, wanted)]
    if not matches:
        _unknown(activations, names, wanted)
    return matches


def _unknown(activations: Mapping[Any, Any], names: list[Any], wanted: str) -> NoReturn:
    try:
        activations[wanted]  # `Activations` knows more: why a layer has no rows, and similar names
    except UnknownLayerError as problem:
        message = str(problem)
    except KeyError:
        message = f"no activations of {wanted!r}; there are those of {', '.join(map(str, names[:8]))}"
    hint = f"; {NUMBERS_ARE_NAMES}" if is_misleading_number(wanted, names) else ""
    raise UnknownLayerError(message + hint)
