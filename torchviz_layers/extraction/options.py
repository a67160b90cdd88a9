"""The options of an extraction, and those of them that decide the stored numbers."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from torchviz_layers.hooks.record_options import RecordOptions
from torchviz_layers.hooks.selection import Selection


@dataclass(frozen=True)
class ExtractOptions:
    """The options of `extract`, checked."""

    selection: Selection
    record: RecordOptions
    inputs: tuple[str, ...] | None
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
    refuse_nonfinite: bool
    total: int | None
    progress: bool

    def settings(self, selection: Selection) -> dict[str, Any]:
        """Return what decides the stored numbers, as JSON: two runs may share a store only if these are equal."""
        record, mask = self.record, self.record.mask
        # What has no influence on the numbers (device, out, progress, ...) may differ between two runs.
        return {
            "inputs": None if self.inputs is None else list(self.inputs),
            "mask": sha256(mask.cpu().numpy().tobytes()).hexdigest() if isinstance(mask, Tensor) else _spell(mask),
            "layers": "all" if selection.leaves else sorted(selection.nodes.values()),
            "only_calls": {node.name: sorted(calls) for node, calls in selection.calls.items()},
            "at": record.at,
            "calls": record.calls,
            "pool": _spell(record.pool),
            "select": _spell(record.select),
            "batch_dim": _spell(record.batch_dim),
            "dtype": _spell(self.dtype),
            "autocast": _spell(self.autocast),
            "predictions": self.predictions,
            "thumbnails": self.thumbnails,
            "pad": self.pad,
        }


def _spell(option: Any) -> Any:
    """Return an option as JSON has it: of a function its name, of other objects their text without addresses."""
    if isinstance(option, Mapping):
        return {name: _spell(value) for name, value in option.items()}
    if option is None or isinstance(option, bool | int | str):
        return option
    return getattr(option, "__qualname__", re.sub(r" at 0x[0-9a-f]+", "", str(option)))
