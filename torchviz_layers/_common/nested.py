"""Nested structures of tensors, as modules take and return them: tuples, mappings, dataclasses, other objects.

A "record" here is a dataclass or any object with attributes that is no module, class or function: a Hugging Face cache,
say. Records may refer to each other in circles and to half of a program, so the walk through them has a limit.
"""

from __future__ import annotations

import copy
import dataclasses
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from types import MappingProxyType, ModuleType
from typing import Any, TypeAlias

import numpy as np
from torch import Tensor, nn
from torch.nn.utils.rnn import PackedSequence

from torchviz_layers.exceptions import CaptureError

_SEQUENCES = (list, tuple, set, frozenset, deque)
_MAX_DEPTH = 4  # of records inside records: deeper ones belong to the program, not to the output
_NOTHING: Mapping[int, Any] = MappingProxyType({})

OneSelect: TypeAlias = int | str | tuple[int | str, ...] | Callable[[Any], Any]


def map_tensors(value: Any, function: Callable[[Tensor], Tensor], _copies: Mapping[int, Any] = _NOTHING) -> Any:
    """Return a copy of the structure `value` with `function` applied to every tensor in it.

    `_copies` are the copies of the records that contain `value`, by `id`: a record that refers back to one of them gets
    its copy, and the recursion ends.
    """
    if isinstance(value, Tensor):
        return function(value)
    if isinstance(value, np.ndarray):
        return value.copy()  # it may share its memory with a tensor
    if isinstance(value, PackedSequence):
        rest = (None if part is None else part.clone() for part in value[1:])
        return PackedSequence(function(value.data), *rest)
    if isinstance(value, Mapping):
        # A dataclass that is also a mapping (Hugging Face's ModelOutput) omits the fields that are None when iterated.
        if names := _field_names(value):
            return type(value)(**{name: map_tensors(getattr(value, name), function, _copies) for name in names})
        return {name: map_tensors(part, function, _copies) for name, part in value.items()}
    if isinstance(value, _SEQUENCES):
        return _same_sequence(value, [map_tensors(part, function, _copies) for part in value])
    if id(value) in _copies:
        return _copies[id(value)]
    # Copy a record only if there is something to map in it: other objects are shared with the original.
    if _is_record(value) and len(_copies) < _MAX_DEPTH and _has_tensors(value, tuple(_copies)):
        record = copy.copy(value)
        copies = {**_copies, id(value): record}
        for name, part in _parts(value):
            # Not setattr: the record may be a frozen dataclass.
            object.__setattr__(record, name, map_tensors(part, function, copies))
        return record
    return value


def _same_sequence(value: Any, parts: list[Any]) -> Any:
    """Return `parts` as the type of `value`: a named tuple, or the plain type that its class derives from."""
    named_tuple = getattr(value, "_make", None)
    if named_tuple is not None:
        return named_tuple(parts)
    # Constructors of derived classes may take other arguments.
    plain_type = next(kind for kind in _SEQUENCES if isinstance(value, kind))
    return plain_type(parts)


def _has_tensors(record: Any, around: tuple[int, ...]) -> bool:
    return next(tensors_in(record, "", around), None) is not None


def tensors_in(value: Any, path: str = "", _around: tuple[int, ...] = ()) -> Iterator[tuple[str, Tensor]]:
    """Yield the tensors of a structure, each with its path, such as `[1][0]` or `.logits`.

    `_around` are the ids of the records that contain `value`; they are not entered again.
    """
    if isinstance(value, Tensor):
        yield path, value
    elif isinstance(value, PackedSequence):
        yield f"{path}.data", value.data
    elif isinstance(value, Mapping):
        for name, part in value.items():
            yield from tensors_in(part, f"{path}[{name!r}]", _around)
    elif isinstance(value, _SEQUENCES):
        for index, part in enumerate(value):
            yield from tensors_in(part, f"{path}[{index}]", _around)
    elif _is_record(value) and id(value) not in _around and len(_around) < _MAX_DEPTH:
        for name, part in _parts(value):
            yield from tensors_in(part, f"{path}.{name}", (*_around, id(value)))


def describe(value: Any) -> str:
    """Return a structure as text on one line: `tuple(Tensor(2, 5, 8), tuple(Tensor(1, 2, 8), Tensor(1, 2, 8)))`."""
    if isinstance(value, Tensor):
        return f"Tensor{tuple(value.shape)}" if not value.is_nested else f"nested Tensor({value.size(0)}, ...)"
    if isinstance(value, PackedSequence):
        return f"PackedSequence(data=Tensor{tuple(value.data.shape)})"
    if isinstance(value, Mapping):
        return f"{type(value).__name__}({', '.join(f'{name}={describe(part)}' for name, part in value.items())})"
    if isinstance(value, _SEQUENCES):
        return f"{type(value).__name__}({', '.join(describe(part) for part in value)})"
    if _is_record(value):
        inside = []
        for name, part in _parts(value):
            # Records inside a record by their type only: they may refer to each other in circles.
            text = type(part).__name__ if _is_record(part) else describe(part)
            inside.append(f"{name}={text}")
        return f"{type(value).__name__}({', '.join(inside)})"
    return type(value).__name__


def choose(value: Any, select: OneSelect | None) -> Any:
    """Return the part of `value` that `select` names: an index, a key or attribute, a tuple of these, or a function."""
    if select is None:
        return value
    if callable(select):
        return select(value)
    steps = select if isinstance(select, tuple) else (select,)
    for step in steps:
        try:
            is_key = isinstance(value, Mapping) and step in value
            value = value[step] if isinstance(step, int) or is_key else getattr(value, step)
        except (KeyError, IndexError, AttributeError, TypeError) as error:
            raise CaptureError(f"select={select!r} was not found in {describe(value)}") from error
    return value


def given(args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> Any:
    """Return a module's arguments as one structure.

    That is its only argument, or the positional arguments as a tuple, with a dict of the keyword arguments at the end.
    """
    if kwargs and args:
        return (*args, dict(kwargs))
    if kwargs:
        return dict(kwargs)
    return args[0] if len(args) == 1 else args


def only_tensor(value: Any, layer: str, side: str = "output") -> Tensor:
    """Return the one tensor of `value`; raise `CaptureError` with its structure if it has several or none."""
    if isinstance(value, Tensor):
        return value
    found = list(tensors_in(value))
    if len(found) == 1:
        return found[0][1]
    what = f"{len(found)} tensors" if found else "no tensor"
    hint = f"; say which with select=, such as select={_as_select(found[0][0])}" if found else ""
    raise CaptureError(f"{layer!r}: its {side} holds {what}: {describe(value)}{hint}")


def _as_select(path: str) -> str:
    """Return a tensor's path as one writes `select`: `[1][0]` as `(1, 0)`, `.logits` as `'logits'`."""
    steps = path.replace("'", "").replace("]", "").replace("[", ".").strip(".").split(".")
    written = [step if step.isdecimal() else repr(step) for step in steps]
    return written[0] if len(written) == 1 else f"({', '.join(written)})"


def _is_record(value: Any) -> bool:
    """Return whether a value is a dataclass or another object with attributes that may hold tensors."""
    # These have attributes too, but a walk into them would end in the program.
    if isinstance(value, nn.Module | type | ModuleType):
        return False
    return dataclasses.is_dataclass(value) or (hasattr(value, "__dict__") and not callable(value))


def _parts(record: Any) -> list[tuple[str, Any]]:
    """Return the attributes of a record by name; a dataclass with slots has fields but no `__dict__`."""
    named = {name: getattr(record, name) for name in _field_names(record) if hasattr(record, name)}
    return list({**named, **getattr(record, "__dict__", {})}.items())


def _field_names(value: Any) -> list[str]:
    """Return the names of the fields that a dataclass is made with; none for other objects."""
    if not dataclasses.is_dataclass(value):
        return []
    return [field.name for field in dataclasses.fields(value) if field.init]
