"""What this library knows of a user's module, kept on the module but never in place of an attribute of its own."""

from __future__ import annotations

from enum import Enum
from typing import Any

from torch import nn

FACTS = "_torchviz_layers"  # the one private attribute that is set on modules


class _Place(Enum):
    """Where a fact is kept if not in the private attribute."""

    PUBLIC = "the attribute of the fact's name, where a user reads and changes it"


def set_fact(module: nn.Module, name: str, value: Any) -> None:
    """Set the attribute `name` where the module has none of its own; else keep the value in the private attribute."""
    facts = vars(module).setdefault(FACTS, {})
    if facts.get(name) is _Place.PUBLIC or not hasattr(module, name):
        facts[name] = _Place.PUBLIC
        setattr(module, name, value)
    else:
        facts[name] = value


def note_fact(module: nn.Module, name: str, value: Any) -> None:
    """Keep a value in the private attribute alone."""
    vars(module).setdefault(FACTS, {})[name] = value


def has_fact(module: nn.Module, name: str) -> bool:
    """Say whether `set_fact` was called for this name."""
    return name in vars(module).get(FACTS, {})


def get_fact(module: nn.Module, name: str) -> Any:
    """Return what `set_fact` keeps, or what a user has since put in its public place; None without a fact."""
    value = vars(module).get(FACTS, {}).get(name)
    return getattr(module, name, None) if value is _Place.PUBLIC else value


def copy_facts(module: nn.Module, other: nn.Module) -> None:
    """Copy all facts of `other`, and what a user has set in their place; children are left alone."""
    for name in ("input_shapes", "transform"):
        if name in vars(other):
            setattr(module, name, vars(other)[name])
    vars(module)[FACTS] = dict(vars(other).get(FACTS, {}))
