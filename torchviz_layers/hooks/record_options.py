"""Which calls are recorded and what is kept of each of them: the options that `capture` and `extract` share."""

from __future__ import annotations

import fnmatch
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, TypeAlias, TypeVar, get_args

from torch import Tensor

from torchviz_layers._common.nested import OneSelect, choose
from torchviz_layers.exceptions import CaptureError
from torchviz_layers.hooks.masks import TokenMasks
from torchviz_layers.hooks.pooling import TOKEN_POOLS, OnePool, Pool, apply_pool, check_pool

At: TypeAlias = Literal["output", "input"]
Calls: TypeAlias = Literal["all", "first", "last"]
T = TypeVar("T")


@dataclass(slots=True)
class LayerOptions:
    """The options of one layer: every glob is resolved."""

    name: str
    select: OneSelect | None
    pool: OnePool
    batch_dim: int | None
    """The axis of the samples, if the user says which it is."""

    def selected(self, value: Any) -> Any:
        """Return the part of an output or input that `select` chooses."""
        return choose(value, self.select)

    def pooled(self, rows: Tensor, masks: TokenMasks, own_mask: Tensor | None = None) -> Any:
        """Return pooled rows. `own_mask` (n, tokens) comes with the value and is preferred to the model's `masks`."""
        if self.pool not in TOKEN_POOLS:
            return apply_pool(self.pool, rows)
        mask = own_mask if own_mask is not None else masks.of(rows, self.name, str(self.pool))
        return apply_pool(self.pool, rows, mask)


@dataclass(frozen=True)
class RecordOptions:
    """The options as the user gave them, checked."""

    at: At = "output"
    calls: Calls = "all"
    pool: Pool = "none"
    select: OneSelect | Mapping[str, OneSelect] | None = None
    mask: Tensor | Callable[[Any], Tensor] | None = None
    """True where a token counts: of one batch for `capture`, of all samples (or a function) for `extract`."""
    batch_dim: int | Mapping[str, int] | None = None
    _layers: dict[str, LayerOptions] = field(default_factory=dict, repr=False, compare=False)
    """The options of the layers that were looked up, so that hooks match each glob once."""

    def __post_init__(self) -> None:
        check_choice("at", self.at, get_args(At))
        check_choice("calls", self.calls, get_args(Calls))
        check_pool(self.pool)

    def of_layer(self, name: str) -> LayerOptions:
        """Return the options of the layer with this name."""
        if name not in self._layers:
            no_pool: OnePool = "none"
            self._layers[name] = LayerOptions(
                name,
                select=_first_match(self.select, name, None),
                pool=_first_match(self.pool, name, no_pool),
                batch_dim=_first_match(self.batch_dim, name, None),
            )
        return self._layers[name]

    def wants_call(self, call: int) -> bool:
        """Whether the `call`-th call of a module, counted from 0, is recorded."""
        return self.calls != "first" or call == 0

    def record_name(self, key: str, call: int) -> str:
        """Return the name to record a call under: with `calls="last"` later calls replace the first one."""
        return key.removesuffix(f":{call}") if self.calls == "last" and call > 0 else key


def _first_match(option: T | Mapping[str, T], layer: str, default: T) -> T:
    """Return the value of a per-layer option: that of the first glob that matches the layer's name."""
    if not isinstance(option, Mapping):
        return option
    for pattern, value in option.items():
        if fnmatch.fnmatchcase(layer, pattern):
            return value
    return default


def check_choice(option: str, value: object, choices: Sequence[object]) -> None:
    """Raise `CaptureError` if `value` is none of the `choices` of an option."""
    if value not in choices:
        raise CaptureError(f"{option}={value!r} is none of {', '.join(map(repr, choices))}")
