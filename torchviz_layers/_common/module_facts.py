"""Facts about a user's module (its transform, its input shapes), kept on the module itself.

A fact such as `transform` is an attribute of that name, so that users can read and change it. Where the module already
has an attribute of that name, the fact is kept in the private attribute `_torchviz_layers` instead, and the module's
own is not changed. On the module, facts survive `copy.deepcopy` and pickling.
"""

from __future__ import annotations

from enum import Enum
from typing import Any

from torch import nn

FACTS = "_torchviz_layers"  # the only private attribute that is set on modules: a dict, name -> value


class _Marker(Enum):
    """A value in `FACTS` that says where the fact is; an enum's member stays itself when it is copied or pickled."""

    PUBLIC = "in the public attribute of the fact's name"


def set_fact(module: nn.Module, name: str, value: Any) -> None:
    """Set the attribute `name` unless the module has one of its own; then keep the value in the private attribute."""
    facts = vars(module).setdefault(FACTS, {})
    is_ours = facts.get(name) is _Marker.PUBLIC
    if is_ours or not hasattr(module, name):
        facts[name] = _Marker.PUBLIC
        setattr(module, name, value)
    else:
        facts[name] = value


def note_fact(module: nn.Module, name: str, value: Any) -> None:
    """Set a fact that is no public attribute."""
    vars(module).setdefault(FACTS, {})[name] = value


def has_fact(module: nn.Module, name: str) -> bool:
    """Return whether `set_fact` or `note_fact` was called for this name."""
    return name in vars(module).get(FACTS, {})


def get_fact(module: nn.Module, name: str) -> Any:
    """Return a fact, as a user may have changed it in the public attribute since; None if there is none."""
    value = vars(module).get(FACTS, {}).get(name)
    return getattr(module, name, None) if value is _Marker.PUBLIC else value


def copy_facts(module: nn.Module, other: nn.Module) -> None:
    """Copy all facts of `other` to `module`, as a user may have changed them; child modules are not touched."""
    for name in ("input_shapes", "transform"):
        if name in vars(other):
            setattr(module, name, vars(other)[name])
    vars(module)[FACTS] = dict(vars(other).get(FACTS, {}))
