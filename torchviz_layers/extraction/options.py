"""The options of an extraction, and what of them must be equal for two extractions to fit together."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from torchviz_layers._common.nested import OneSelect
from torchviz_layers.hooks.pooling import Pool
from torchviz_layers.hooks.selection import Selection


@dataclass(frozen=True)
class Options:
    """The options of `extract`, checked."""

    selection: Selection
    at: str
    calls: str
    pool: Pool
    select: OneSelect | Mapping[str, OneSelect] | None
    inputs: tuple[str, ...] | None
    mask: Tensor | Callable[[Any], Tensor] | None
    batch_dim: int | Mapping[str, int] | None
    device: str | torch.device
    dtype: torch.dtype | None
    autocast: torch.dtype | None
    predictions: bool
    thumbnails: int | None
    out: Path | None
    resume: bool
    max_memory: int | None
    keep_on: torch.device | None
    pad: bool
    refuse: bool
    verify: bool
    total: int | None
    progress: bool

    def settings(self, selection: Selection) -> dict[str, Any]:
        """Return what decides the stored numbers, as JSON can hold it."""
        names = ("at", "calls", "pool", "select", "batch_dim", "dtype", "autocast", "predictions", "thumbnails", "pad")
        mask = sha256(self.mask.cpu().numpy().tobytes()).hexdigest() if isinstance(self.mask, Tensor) else self.mask
        return {
            "inputs": None if self.inputs is None else list(self.inputs),
            "mask": _spell(mask),
            "layers": "all" if selection.leaves else sorted(selection.nodes.values()),
            "only_calls": {node.name: sorted(calls) for node, calls in selection.calls.items()},
            **{name: _spell(getattr(self, name)) for name in names},
        }


def _spell(option: Any) -> Any:
    if isinstance(option, Mapping):
        return {name: _spell(value) for name, value in option.items()}
    if option is None or isinstance(option, bool | int | str):
        return option
    return getattr(option, "__qualname__", re.sub(r" at 0x[0-9a-f]+", "", str(option)))
