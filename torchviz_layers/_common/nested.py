"""What modules return: a tensor, or tensors inside tuples, mappings and records."""

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
_DEEPEST = 4  # records inside one another: what lies deeper is the program around the answer
_NOTHING: Mapping[int, Any] = MappingProxyType({})

OneSelect: TypeAlias = int | str | tuple[int | str, ...] | Callable[[Any], Any]


def map_tensors(value: Any, keep: Callable[[Tensor], Tensor], _made: Mapping[int, Any] = _NOTHING) -> Any:
    """Return a copy of the structure `value` with `keep` applied to every tensor in it.

    `_made` are the copies of the records around it, so that a record that leads back to itself has an end.
    """
    if isinstance(value, Tensor):
        return keep(value)
    if isinstance(value, np.ndarray):
        return value.copy()  # it may share its memory with a tensor
    if isinstance(value, PackedSequence):
        rest = (None if part is None else part.clone() for part in value[1:])
        return PackedSequence(keep(value.data), *rest)
    if isinstance(value, Mapping):
        if names := _field_names(value):  # a mapping that leaves out the fields that are None
            return type(value)(**{name: map_tensors(getattr(value, name), keep, _made) for name in names})
        return {name: map_tensors(part, keep, _made) for name, part in value.items()}
    if isinstance(value, _SEQUENCES):
        parts = [map_tensors(part, keep, _made) for part in value]
        named_tuple = getattr(value, "_make", None)
        if named_tuple is not None:
            return named_tuple(parts)
        return next(kind for kind in _SEQUENCES if isinstance(value, kind))(parts)
    if id(value) in _made:
        return _made[id(value)]
    if _is_record(value) and len(_made) < _DEEPEST and any(True for _ in tensors_in(value, "", (*_made,))):
        record = copy.copy(value)
        made = {**_made, id(value): record}
        for name, part in _parts(value):
            object.__setattr__(record, name, map_tensors(part, keep, made))
        return record
    return value


def tensors_in(value: Any, path: str = "", _around: tuple[int, ...] = ()) -> Iterator[tuple[str, Tensor]]:
    """Yield the tensors of a structure with the path that leads to each, such as `[1][0]` or `.logits`."""
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
    elif _is_record(value) and id(value) not in _around and len(_around) < _DEEPEST:
        for name, part in _parts(value):
            yield from tensors_in(part, f"{path}.{name}", (*_around, id(value)))


def describe(value: Any) -> str:
    """Spell a structure on one line: `tuple(Tensor(2, 5, 8), tuple(Tensor(1, 2, 8), Tensor(1, 2, 8)))`."""
    if isinstance(value, Tensor):
        return f"Tensor{tuple(value.shape)}" if not value.is_nested else f"nested Tensor({value.size(0)}, ...)"
    if isinstance(value, PackedSequence):
        return f"PackedSequence(data=Tensor{tuple(value.data.shape)})"
    if isinstance(value, Mapping):
        return f"{type(value).__name__}({', '.join(f'{name}={describe(part)}' for name, part in value.items())})"
    if isinstance(value, _SEQUENCES):
        return f"{type(value).__name__}({', '.join(describe(part) for part in value)})"
    if _is_record(value):
        inside = (
            f"{name}={type(part).__name__ if _is_record(part) else describe(part)}" for name, part in _parts(value)
        )
        return f"{type(value).__name__}({', '.join(inside)})"
    return type(value).__name__


def choose(value: Any, select: OneSelect | None) -> Any:
    """Follow `select` into `value`: a position, a key or attribute, a path of these, or a function."""
    if select is None:
        return value
    if callable(select):
        return select(value)
    for step in select if isinstance(select, tuple) else (select,):
        try:
            value = value[step] if isinstance(step, int) or _has_key(value, step) else getattr(value, step)
        except (KeyError, IndexError, AttributeError, TypeError) as error:
            raise CaptureError(f"select={select!r} leads nowhere in {describe(value)}") from error
    return value


def given(args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> Any:
    """Return what a module was given: its only argument, or its arguments followed by those given by name."""
    if kwargs:
        return (*args, dict(kwargs)) if args else dict(kwargs)
    return args[0] if len(args) == 1 else args


def only_tensor(value: Any, layer: str, side: str = "output") -> Tensor:
    """Return the tensor that `value` is or holds; raise `CaptureError` with its structure if it holds several."""
    if isinstance(value, Tensor):
        return value
    found = list(tensors_in(value))
    if len(found) == 1:
        return found[0][1]
    what = f"{len(found)} tensors" if found else "no tensor"
    ways = f"; say which with select=, such as select={_as_select(found[0][0])}" if found else ""
    raise CaptureError(f"{layer!r}: its {side} holds {what}: {describe(value)}{ways}")


def _as_select(path: str) -> str:
    steps = path.replace("'", "").replace("]", "").replace("[", ".").strip(".").split(".")
    spelled = [step if step.isdecimal() else repr(step) for step in steps]
    return spelled[0] if len(spelled) == 1 else f"({', '.join(spelled)})"


def _has_key(value: Any, key: str) -> bool:
    return isinstance(value, Mapping) and key in value


def _is_record(value: Any) -> bool:
    if isinstance(value, nn.Module | type | ModuleType):
        return False
    return dataclasses.is_dataclass(value) or (hasattr(value, "__dict__") and not callable(value))


def _parts(record: Any) -> list[tuple[str, Any]]:
    """Return the attributes of a record, of a dataclass with slots too."""
    named = {name: getattr(record, name) for name in _field_names(record) if hasattr(record, name)}
    return list({**named, **getattr(record, "__dict__", {})}.items())


def _field_names(value: Any) -> list[str]:
    """Return the names of the fields of a dataclass, and none for anything else."""
    return [field.name for field in dataclasses.fields(value) if field.init] if dataclasses.is_dataclass(value) else []
