"""What modules return: a tensor, or tensors inside tuples, mappings and records."""

from __future__ import annotations

import copy
import dataclasses
from collections.abc import Callable, Iterator, Mapping
from typing import Any, TypeAlias

from torch import Tensor, nn
from torch.nn.utils.rnn import PackedSequence

from torchviz_layers.exceptions import CaptureError

OneSelect: TypeAlias = int | str | tuple[int | str, ...] | Callable[[Any], Any]


def map_tensors(value: Any, keep: Callable[[Tensor], Tensor]) -> Any:
    """Return a copy of the structure `value` with `keep` applied to every tensor in it."""
    if isinstance(value, Tensor):
        return keep(value)
    if isinstance(value, PackedSequence):
        rest = (None if part is None else part.clone() for part in value[1:])
        return PackedSequence(keep(value.data), *rest)
    if isinstance(value, Mapping):
        mapped = {name: map_tensors(part, keep) for name, part in value.items()}
        return type(value)(**mapped) if dataclasses.is_dataclass(value) else mapped
    if isinstance(value, tuple) and hasattr(value, "_fields"):
        return type(value)(*(map_tensors(part, keep) for part in value))
    if isinstance(value, list | tuple):
        parts = [map_tensors(part, keep) for part in value]
        return parts if isinstance(value, list) else tuple(parts)
    if _is_record(value) and any(True for _ in tensors_in(value)):
        record = copy.copy(value)
        for name, part in vars(value).items():
            object.__setattr__(record, name, map_tensors(part, keep))
        return record
    return value


def tensors_in(value: Any, path: str = "") -> Iterator[tuple[str, Tensor]]:
    """Yield the tensors of a structure with the path that leads to each, such as `[1][0]` or `.logits`."""
    if isinstance(value, Tensor):
        yield path, value
    elif isinstance(value, PackedSequence):
        yield f"{path}.data", value.data
    elif isinstance(value, Mapping):
        for name, part in value.items():
            yield from tensors_in(part, f"{path}[{name!r}]")
    elif isinstance(value, list | tuple):
        for index, part in enumerate(value):
            yield from tensors_in(part, f"{path}[{index}]")
    elif _is_record(value):
        for name, part in vars(value).items():
            if isinstance(part, Tensor | list | tuple | dict):
                yield from tensors_in(part, f"{path}.{name}")


def describe(value: Any) -> str:
    """Spell a structure on one line: `tuple(Tensor(2, 5, 8), tuple(Tensor(1, 2, 8), Tensor(1, 2, 8)))`."""
    if isinstance(value, Tensor):
        return f"Tensor{tuple(value.shape)}" if not value.is_nested else f"nested Tensor({value.size(0)}, ...)"
    if isinstance(value, PackedSequence):
        return f"PackedSequence(data=Tensor{tuple(value.data.shape)})"
    if isinstance(value, Mapping):
        return f"{type(value).__name__}({', '.join(f'{name}={describe(part)}' for name, part in value.items())})"
    if isinstance(value, list | tuple):
        return f"{type(value).__name__}({', '.join(describe(part) for part in value)})"
    if _is_record(value):
        return f"{type(value).__name__}({', '.join(f'{name}={describe(part)}' for name, part in vars(value).items())})"
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
    return hasattr(value, "__dict__") and not isinstance(value, nn.Module | type) and not callable(value)
